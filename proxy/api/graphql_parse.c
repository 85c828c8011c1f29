#include "api/graphql_parse.h"

#include <stdio.h>

#include "base/json_scan.h"

enum token_kind { TOKEN_END, TOKEN_MARK, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_BAD };

struct token {
    enum token_kind kind;
    unsigned line, column;
    struct str text;     /* strings: decoded */
    bool is_float;
};

struct parser {
    struct arena *arena;
    const char *at, *end, *line_at;
    unsigned line, n_tokens, depth;
    struct gql_fault *fault;
    bool failed;
    struct token token;  /* the next one */
};

bool gql_fail(struct gql_fault *fault, unsigned line, unsigned column, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fault->line = line;
    fault->column = column;
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    va_end(args);
    return false;
}

struct str gql_named(struct str type)
{
    while (gql_is_required(type) || gql_is_list(type))
        type = gql_is_required(type) ? gql_nullable(type) : gql_item(type);
    return type;
}

/* ---- tokens ---- */

static unsigned column_of(const struct parser *p, const char *at)
{
    return (unsigned)(at - p->line_at) + 1;
}

/* The first fault counts; nothing is read behind it. */
static void bad(struct parser *p, const char *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void bad(struct parser *p, const char *at, const char *fmt, ...)
{
    char text[240];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!p->failed)
        gql_fail(p->fault, p->line, column_of(p, at), "Syntax error: %s", text);
    p->failed = true;
    p->token.kind = TOKEN_BAD;
    p->at = p->end;
}

static void new_line(struct parser *p, const char *next)
{
    p->line++;
    p->line_at = next;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_ignored(struct parser *p)
{
    while (p->at < p->end) {
        char c = *p->at;
        if (c == '\n') {
            new_line(p, ++p->at);
        } else if (c == '\r') {
            p->at += p->end - p->at > 1 && p->at[1] == '\n' ? 2 : 1;
            new_line(p, p->at);
        } else if (c == ' ' || c == '\t' || c == ',') {
            p->at++;
        } else if (c == '#') {
            while (p->at < p->end && *p->at != '\n' && *p->at != '\r')
                p->at++;
        } else if (p->end - p->at >= 3 && memcmp(p->at, "\xEF\xBB\xBF", 3) == 0) {
            p->at += 3;
        } else {
            return;
        }
    }
}

static void read_number(struct parser *p)
{
    const char *from = p->at;
    while (p->at < p->end && (is_digit(*p->at) || memchr("+-.eE", *p->at, 5)))
        p->at++;
    p->token.kind = TOKEN_NUMBER;
    p->token.text = str_slice(from, (size_t)(p->at - from));
    p->token.is_float = memchr(from, '.', p->token.text.n) || memchr(from, 'e', p->token.text.n) ||
                        memchr(from, 'E', p->token.text.n);
    if (!json_is_number(p->token.text) || (p->at < p->end && is_name_start(*p->at)))
        bad(p, from, "'%.*s' is not a number", (int)(p->token.text.n < 40 ? p->token.text.n : 40), from);
}

/* What stands behind \u: XXXX or {X...}. Moves *at; -1 if it is none. */
static long read_code(const char **at, const char *end)
{
    bool braces = *at < end && **at == '{';
    const char *p = *at + braces;
    long code = 0;
    unsigned n = 0;
    while (p < end && hex_digit(*p) >= 0 && n < (braces ? 8 : 4) && code <= 0x10FFFF) {
        code = code * 16 + hex_digit(*p++);
        n++;
    }
    if (braces ? n == 0 || p == end || *p++ != '}' : n != 4)
        return -1;
    *at = p;
    return code <= 0x10FFFF ? code : -1;
}

/* A backslash and what belongs to it. Moves *at behind it; 0 if it is none. */
static size_t read_escape(const char **at, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = *at + 1;
    const char *known = p < end && *p ? strchr(from, *p) : NULL;
    if (known) {
        *at = p + 1;
        out[0] = to[known - from];
        return 1;
    }
    if (p == end || *p++ != 'u')
        return 0;
    long code = read_code(&p, end);
    if (code >= 0xD800 && code < 0xDC00 && end - p >= 2 && p[0] == '\\' && p[1] == 'u') {
        p += 2;
        long low = read_code(&p, end);
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : -1;
    }
    if (code < 0 || (code >= 0xD800 && code < 0xE000))
        return 0;
    *at = p;
    return utf8_put(out, (unsigned)code);
}

static void read_string(struct parser *p)
{
    const char *from = p->at++;
    const char *quote = p->at;
    while (quote < p->end && *quote != '"' && *quote != '\n')
        quote += *quote == '\\' && p->end - quote > 1 ? 2 : 1;
    char *out = arena_alloc(p->arena, (size_t)(quote - p->at) + 8);
    size_t n = 0;
    while (p->at < p->end && *p->at != '"') {
        unsigned length = utf8_length(p->at, (size_t)(p->end - p->at));
        unsigned char c = (unsigned char)*p->at;
        if (c == '\\') {
            size_t put = read_escape(&p->at, p->end, out + n);
            if (!put)
                return bad(p, p->at, "a string has an escape that GraphQL does not know");
            n += put;
        } else if (!length || (c < ' ' && c != '\t')) {
            return bad(p, p->at, "a string holds %s",
                       length ? "a line end or a control character" : "bytes that are not UTF-8");
        } else {
            memcpy(out + n, p->at, length);
            n += length;
            p->at += length;
        }
    }
    if (p->at == p->end)
        return bad(p, from, "a string does not end");
    p->at++;
    p->token.kind = TOKEN_STRING;
    p->token.text = str_slice(out, n);
}

/* The lines of a block string without their common indent, and without blank lines at both ends. */
static struct str unindented(struct arena *a, struct str raw)
{
    size_t common = SIZE_MAX, first = SIZE_MAX, last = 0, number = 0;
    for (struct str rest = raw; rest.p; number++) {
        struct str line = str_split(&rest, '\n');
        size_t indent = 0;
        while (indent < line.n && (line.p[indent] == ' ' || line.p[indent] == '\t'))
            indent++;
        if (indent == line.n)
            continue;
        if (number && indent < common)
            common = indent;
        first = first == SIZE_MAX ? number : first;
        last = number;
    }
    char *out = arena_alloc(a, raw.n + 1);
    size_t n = 0;
    number = 0;
    for (struct str rest = raw; rest.p; number++) {
        struct str line = str_split(&rest, '\n');
        size_t cut = !number || common == SIZE_MAX ? 0 : common < line.n ? common : line.n;
        if (first == SIZE_MAX || number < first || number > last)
            continue;
        if (number > first)
            out[n++] = '\n';
        memcpy(out + n, line.p + cut, line.n - cut);
        n += line.n - cut;
    }
    return str_slice(out, n);
}

static void read_block_string(struct parser *p)
{
    const char *from = p->at;
    unsigned line = p->line;
    const char *line_at = p->line_at;
    char *out = arena_alloc(p->arena, (size_t)(p->end - p->at) + 1);
    size_t n = 0;
    p->at += 3;
    for (;;) {
        size_t left = (size_t)(p->end - p->at);
        if (left < 3) {
            p->line = line;
            p->line_at = line_at;
            return bad(p, from, "a block string does not end");
        }
        if (memcmp(p->at, "\"\"\"", 3) == 0)
            break;
        if (left >= 4 && memcmp(p->at, "\\\"\"\"", 4) == 0) {
            memcpy(out + n, "\"\"\"", 3);
            n += 3;
            p->at += 4;
            continue;
        }
        unsigned length = utf8_length(p->at, left);
        unsigned char c = (unsigned char)*p->at;
        if (!length || (c < ' ' && c != '\t' && c != '\n' && c != '\r'))
            return bad(p, p->at, "a block string holds a control character or bytes that are not UTF-8");
        if (c == '\r' || c == '\n') { /* all kinds of line ends become one */
            p->at += c == '\r' && p->at[1] == '\n' ? 2 : 1;
            out[n++] = '\n';
            new_line(p, p->at);
            continue;
        }
        memcpy(out + n, p->at, length);
        n += length;
        p->at += length;
    }
    p->at += 3;
    p->token.kind = TOKEN_STRING;
    p->token.text = unindented(p->arena, str_slice(out, n));
}

static void advance(struct parser *p)
{
    if (p->failed)
        return;
    skip_ignored(p);
    p->token = (struct token){
        .kind = TOKEN_END, .line = p->line, .column = column_of(p, p->at), .text = str_slice(p->at, 0)};
    if (p->at == p->end)
        return;
    if (++p->n_tokens > GQL_TOKENS_MAX)
        return bad(p, p->at, "the document is too long, at most %d words and marks are taken",
                   GQL_TOKENS_MAX);
    const char *from = p->at;
    size_t left = (size_t)(p->end - from);
    if (is_name_start(*from)) {
        while (p->at < p->end && (is_name_start(*p->at) || is_digit(*p->at)))
            p->at++;
        p->token.kind = TOKEN_NAME;
        p->token.text = str_slice(from, (size_t)(p->at - from));
    } else if (is_digit(*from) || *from == '-') {
        read_number(p);
    } else if (*from == '"') {
        left >= 3 && memcmp(from, "\"\"\"", 3) == 0 ? read_block_string(p) : read_string(p);
    } else if (left >= 3 && memcmp(from, "...", 3) == 0) {
        p->token.kind = TOKEN_MARK;
        p->token.text = str_slice(from, 3);
        p->at += 3;
    } else if (memchr("!$&():=@[]{|}", *from, 13)) {
        p->token.kind = TOKEN_MARK;
        p->token.text = str_slice(from, 1);
        p->at++;
    } else if ((unsigned char)*from > ' ' && (unsigned char)*from < 0x7f) {
        bad(p, from, "found '%c', which begins nothing", *from);
    } else {
        bad(p, from, "found byte %u, which begins nothing", (unsigned char)*from);
    }
}

static bool is_mark(const struct parser *p, const char *mark)
{
    return p->token.kind == TOKEN_MARK && str_eq(p->token.text, str_of(mark));
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->token.kind == TOKEN_NAME && str_eq(p->token.text, str_of(word));
}

static bool take_mark(struct parser *p, const char *mark)
{
    if (!is_mark(p, mark))
        return false;
    advance(p);
    return true;
}

static void unexpected(struct parser *p, const char *expected)
{
    if (p->failed)
        return;
    p->line = p->token.line; /* a fault is where the token begins, not behind it */
    const char *found = p->token.kind == TOKEN_END      ? "the end"
                        : p->token.kind == TOKEN_STRING ? "a string"
                                                        : NULL;
    char text[240];
    if (found)
        snprintf(text, sizeof text, "found %s, expected %s", found, expected);
    else
        snprintf(text, sizeof text, "found '%.*s', expected %s",
                 (int)(p->token.text.n < 40 ? p->token.text.n : 40), p->token.text.p, expected);
    gql_fail(p->fault, p->token.line, p->token.column, "Syntax error: %s", text);
    p->failed = true;
    p->token.kind = TOKEN_BAD;
    p->at = p->end;
}

static void expect_mark(struct parser *p, const char *mark)
{
    char expected[8];
    if (take_mark(p, mark))
        return;
    snprintf(expected, sizeof expected, "'%s'", mark);
    unexpected(p, expected);
}

static struct str expect_name(struct parser *p, const char *expected)
{
    struct str name = p->token.text;
    if (p->token.kind != TOKEN_NAME) {
        unexpected(p, expected);
        return STR("");
    }
    advance(p);
    return name;
}

static bool enter(struct parser *p)
{
    if (p->depth++ < GQL_NEST_MAX)
        return true;
    if (!p->failed)
        gql_fail(p->fault, p->token.line, p->token.column, "Syntax error: nested deeper than %d",
                 GQL_NEST_MAX);
    p->failed = true;
    p->at = p->end;
    return false;
}

/* ---- values and types ---- */

static struct node *parse_value(struct parser *p, bool constant);

static struct node *node_here(struct parser *p, enum node_kind kind, struct str text)
{
    struct node *out = node_new(p->arena, kind, text);
    out->line = p->token.line;
    out->column = p->token.column;
    return out;
}

static void parse_members(struct parser *p, struct node *object, const char *close, bool constant)
{
    while (!p->failed && !is_mark(p, close)) {
        if (object->n == TREE_KEYS_MAX)
            return unexpected(p, "no more than 1000 names here");
        struct str key = expect_name(p, "a name");
        expect_mark(p, ":");
        struct node *value = p->failed ? NULL : parse_value(p, constant);
        if (value)
            node_add(object, key, value);
    }
    expect_mark(p, close);
}

static struct node *parse_list(struct parser *p, bool constant)
{
    struct node *list = node_here(p, NODE_LIST, STR_NONE);
    advance(p);
    while (!p->failed && !is_mark(p, "]")) {
        struct node *item = parse_value(p, constant);
        if (item)
            node_add(list, STR_NONE, item);
    }
    expect_mark(p, "]");
    return list;
}

static struct node *parse_word(struct parser *p)
{
    struct node *out = node_here(p, NODE_ENUM, p->token.text);
    if (is_word(p, "null"))
        out->kind = NODE_NULL;
    else if (is_word(p, "true"))
        out->kind = NODE_TRUE;
    else if (is_word(p, "false"))
        out->kind = NODE_FALSE;
    advance(p);
    return out;
}

static struct node *parse_value(struct parser *p, bool constant)
{
    struct node *out = NULL;
    if (!enter(p))
        return NULL;
    if (p->token.kind == TOKEN_NUMBER || p->token.kind == TOKEN_STRING) {
        out = node_here(p, p->token.kind == TOKEN_NUMBER ? NODE_NUMBER : NODE_STRING, p->token.text);
        advance(p);
    } else if (p->token.kind == TOKEN_NAME) {
        out = parse_word(p);
    } else if (is_mark(p, "[")) {
        out = parse_list(p, constant);
    } else if (is_mark(p, "{")) {
        out = node_here(p, NODE_OBJECT, STR_NONE);
        advance(p);
        parse_members(p, out, "}", constant);
    } else if (is_mark(p, "$") && !constant) {
        out = node_here(p, NODE_VARIABLE, STR_NONE);
        advance(p);
        out->text = expect_name(p, "a variable's name");
    } else {
        unexpected(p, constant ? "a value without variables" : "a value");
    }
    p->depth--;
    return p->failed ? NULL : out;
}

static struct node *parse_arguments(struct parser *p, bool constant)
{
    struct node *out = node_here(p, NODE_OBJECT, STR_NONE);
    if (!take_mark(p, "("))
        return out;
    if (is_mark(p, ")"))
        unexpected(p, "an argument");
    parse_members(p, out, ")", constant);
    return out;
}

static struct str parse_type(struct parser *p)
{
    struct str out = STR("");
    if (!enter(p))
        return out;
    if (take_mark(p, "[")) {
        struct str item = parse_type(p);
        expect_mark(p, "]");
        out = arena_printf(p->arena, "[%.*s]", STR_ARG(item));
    } else {
        out = expect_name(p, "a type");
    }
    if (take_mark(p, "!"))
        out = arena_printf(p->arena, "%.*s!", STR_ARG(out));
    p->depth--;
    return out;
}

/* ---- requests ---- */

static struct gql_directive *parse_directives(struct parser *p, bool constant)
{
    struct gql_directive *first = NULL, **at = &first;
    for (unsigned n = 0; is_mark(p, "@"); n++) {
        if (n == GQL_DIRECTIVES_MAX)
            return unexpected(p, "no more directives at one place"), first;
        struct gql_directive *d = arena_zalloc(p->arena, sizeof *d);
        d->line = p->token.line;
        d->column = p->token.column;
        advance(p);
        d->name = expect_name(p, "a directive's name");
        d->args = parse_arguments(p, constant);
        *at = d;
        at = &d->next;
    }
    return first;
}

static struct gql_selection *parse_selections(struct parser *p);

static void parse_field(struct parser *p, struct gql_selection *s)
{
    s->kind = GQL_FIELD;
    s->key = s->name = expect_name(p, "a field, '...' or '}'");
    if (take_mark(p, ":"))
        s->name = expect_name(p, "a field's name");
    s->args = parse_arguments(p, false);
    s->directives = parse_directives(p, false);
    if (is_mark(p, "{"))
        s->selections = parse_selections(p);
}

/* Behind "..." */
static void parse_spread(struct parser *p, struct gql_selection *s)
{
    s->args = NULL;
    if (p->token.kind == TOKEN_NAME && !is_word(p, "on")) {
        s->kind = GQL_SPREAD;
        s->name = expect_name(p, "a fragment's name");
        s->directives = parse_directives(p, false);
        return;
    }
    s->kind = GQL_INLINE;
    if (is_word(p, "on")) {
        advance(p);
        s->name = expect_name(p, "a type's name");
    }
    s->directives = parse_directives(p, false);
    s->selections = parse_selections(p);
}

static struct gql_selection *parse_selections(struct parser *p)
{
    struct gql_selection *first = NULL, **at = &first;
    if (!enter(p))
        return NULL;
    expect_mark(p, "{");
    do {
        struct gql_selection *s = arena_zalloc(p->arena, sizeof *s);
        s->line = p->token.line;
        s->column = p->token.column;
        if (take_mark(p, "..."))
            parse_spread(p, s);
        else
            parse_field(p, s);
        *at = s;
        at = &s->next;
    } while (!p->failed && !is_mark(p, "}"));
    expect_mark(p, "}");
    p->depth--;
    return first;
}

static struct gql_variable *parse_variables(struct parser *p)
{
    struct gql_variable *first = NULL, **at = &first;
    unsigned n = 0;
    if (!take_mark(p, "("))
        return NULL;
    do {
        if (n++ == GQL_VARIABLES_MAX)
            return unexpected(p, "no more variables"), first;
        struct gql_variable *v = arena_zalloc(p->arena, sizeof *v);
        v->line = p->token.line;
        v->column = p->token.column;
        expect_mark(p, "$");
        v->name = expect_name(p, "a variable's name");
        expect_mark(p, ":");
        v->type = parse_type(p);
        if (take_mark(p, "="))
            v->fallback = parse_value(p, true);
        v->directives = parse_directives(p, true);
        *at = v;
        at = &v->next;
    } while (!p->failed && !is_mark(p, ")"));
    expect_mark(p, ")");
    return first;
}

static void parse_fragment(struct parser *p, struct gql_definition *d)
{
    d->kind = GQL_FRAGMENT;
    if (is_word(p, "on"))
        unexpected(p, "a fragment's name, which 'on' is not");
    d->name = expect_name(p, "a fragment's name");
    if (!is_word(p, "on"))
        unexpected(p, "'on'");
    advance(p);
    d->on = expect_name(p, "a type's name");
    d->directives = parse_directives(p, false);
    d->selections = parse_selections(p);
}

static void parse_operation(struct parser *p, struct gql_definition *d)
{
    if (p->token.kind == TOKEN_NAME)
        d->name = expect_name(p, "a name");
    d->variables = parse_variables(p);
    d->directives = parse_directives(p, false);
    d->selections = parse_selections(p);
}

static void parse_definition(struct parser *p, struct gql_definition *d)
{
    static const struct {
        const char *word;
        enum gql_definition_kind kind;
    } words[] = {{"query", GQL_QUERY}, {"mutation", GQL_MUTATION}, {"subscription", GQL_SUBSCRIPTION}};
    d->line = p->token.line;
    d->column = p->token.column;
    if (is_mark(p, "{")) {
        d->kind = GQL_QUERY;
        d->selections = parse_selections(p);
        return;
    }
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(p, words[i].word)) {
            advance(p);
            d->kind = words[i].kind;
            parse_operation(p, d);
            return;
        }
    if (is_word(p, "fragment")) {
        advance(p);
        parse_fragment(p, d);
        return;
    }
    unexpected(p, "query, mutation, fragment or '{'");
}

static void parser_init(struct parser *p, struct arena *arena, struct str text, struct gql_fault *fault)
{
    *p = (struct parser){
        .arena = arena, .at = text.p, .end = text.p + text.n, .line_at = text.p, .line = 1, .fault = fault};
    advance(p);
}

struct gql_definition *gql_parse(struct arena *arena, struct str text, struct gql_fault *fault)
{
    struct gql_definition *first = NULL, **at = &first;
    struct parser p;
    if (!text.p)
        text = STR("");
    parser_init(&p, arena, text, fault);
    do {
        struct gql_definition *d = arena_zalloc(arena, sizeof *d);
        parse_definition(&p, d);
        *at = d;
        at = &d->next;
    } while (!p.failed && p.token.kind != TOKEN_END);
    return p.failed ? NULL : first;
}

/* ---- the schema ---- */

static struct str parse_help(struct parser *p)
{
    struct str help = STR_NONE;
    if (p->token.kind == TOKEN_STRING) {
        help = p->token.text;
        advance(p);
    }
    return help;
}

static struct gql_input_def *parse_inputs(struct parser *p, const char *close, bool typed)
{
    struct gql_input_def *first = NULL, **at = &first;
    while (!p->failed && !is_mark(p, close)) {
        struct gql_input_def *in = arena_zalloc(p->arena, sizeof *in);
        in->help = parse_help(p);
        in->name = expect_name(p, "a name");
        if (typed) {
            expect_mark(p, ":");
            in->type = parse_type(p);
            if (take_mark(p, "="))
                in->fallback = parse_value(p, true);
        }
        *at = in;
        at = &in->next;
    }
    expect_mark(p, close);
    return first;
}

static struct gql_field_def *parse_fields(struct parser *p)
{
    struct gql_field_def *first = NULL, **at = &first;
    while (!p->failed && !is_mark(p, "}")) {
        struct gql_field_def *f = arena_zalloc(p->arena, sizeof *f);
        f->help = parse_help(p);
        f->name = expect_name(p, "a field's name");
        if (take_mark(p, "("))
            f->args = parse_inputs(p, ")", true);
        expect_mark(p, ":");
        f->type = parse_type(p);
        *at = f;
        at = &f->next;
    }
    expect_mark(p, "}");
    return first;
}

static void parse_type_def(struct parser *p, struct gql_type_def *t)
{
    static const struct {
        const char *word;
        enum gql_kind kind;
    } words[] = {{"scalar", GQL_SCALAR}, {"type", GQL_OBJECT}, {"enum", GQL_ENUM}, {"input", GQL_INPUT}};
    t->help = parse_help(p);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        if (!is_word(p, words[i].word))
            continue;
        t->kind = words[i].kind;
        advance(p);
        t->name = expect_name(p, "a type's name");
        if (t->kind != GQL_SCALAR)
            expect_mark(p, "{");
        if (t->kind == GQL_OBJECT)
            t->fields = parse_fields(p);
        else if (t->kind != GQL_SCALAR)
            t->inputs = parse_inputs(p, "}", t->kind == GQL_INPUT);
        return;
    }
    unexpected(p, "scalar, type, enum or input");
}

struct gql_type_def *gql_parse_schema(struct arena *arena, struct str text, struct gql_fault *fault)
{
    struct gql_type_def *first = NULL, **at = &first;
    struct parser p;
    if (!text.p)
        text = STR("");
    parser_init(&p, arena, text, fault);
    do {
        struct gql_type_def *t = arena_zalloc(arena, sizeof *t);
        parse_type_def(&p, t);
        *at = t;
        at = &t->next;
    } while (!p.failed && p.token.kind != TOKEN_END);
    return p.failed ? NULL : first;
}
