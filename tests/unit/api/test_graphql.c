#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/graphql_check.h"

static struct arena arena;
static struct gql_schema *schema;
static struct gql_request request;

static int begin(void **state)
{
    arena_init(&arena, NULL, 0);
    schema = gql_schema_new();
    return 0;
}

static int end(void **state)
{
    gql_schema_free(&schema);
    arena_fini(&arena);
    return 0;
}

/* The first fault of a request, "" if it is right; variables: JSON, or NULL. */
static const char *fault_of(const char *document, const char *variables)
{
    static char text[900];
    struct gql_fault fault;
    struct err err;
    request = (struct gql_request){.arena = &arena, .schema = schema, .errors = node_list(&arena)};
    request.document = gql_parse(&arena, str_of(document), &fault);
    if (!request.document) {
        snprintf(text, sizeof text, "%u:%u %s", fault.line, fault.column, fault.text);
        return text;
    }
    if (gql_check(&request) &&
        gql_choose(&request, STR_NONE, variables ? tree_read(&arena, str_of(variables), &err) : NULL))
        return "";
    struct node *first = request.errors->first, *places = node_get(first, STR("locations"));
    struct str message = node_get(first, STR("message"))->text;
    struct node *line = places ? node_get(places->first, STR("line")) : NULL;
    struct node *column = places ? node_get(places->first, STR("column")) : NULL;
    snprintf(text, sizeof text, "%.*s:%.*s %.*s", line ? (int)line->text.n : 0, line ? line->text.p : "",
             column ? (int)column->text.n : 0, column ? column->text.p : "", STR_ARG(message));
    return text;
}

static void these_are_right(void **state)
{
    static const char *const rows[] = {
        "query{optimizedSearch(model:\"hermes\")}",
        "{models{name}}",
        "\xEF\xBB\xBFquery Named { # a comment\n  a: models { __typename, n: name } }",
        "query($v:[Float!]=[1,2.5e1],$n:Int){search(model:\"m\",vector:$v,limit:$n){points{id}}}",
        "query($v:[Float!]!){search(model:\"m\",vector:$v){points{id}}}",
        "query($x:Float!){search(model:\"m\",vector:[$x,1]){points{id}}}",
        "{search(model:\"m\",vector:1,filter:{must:[{key:\"a\",match:{any:[1,RED,null]}}]}){points{id}}}",
        "query($f:JSON){search(model:\"m\",filter:{must:$f}){status}}",
        "query A{...f}query B{...f}fragment f on Query{models{...g}}fragment g on Model{name ... on "
        "Model{collection} ...{upstream}}",
        "{models{name name collection @skip(if:false) @include(if:true)}}",
        "{a:model(name:\"x\"){name}b:model(name:\"y\"){name}}",
        "mutation{purgeCache{purged}}",
        "{__schema{types{name kind fields(includeDeprecated:true){name args{defaultValue "
        "type{ofType{ofType{name}}}}}}}__type(name:\"Int\"){name}}",
        "{model(name:\"\"\"\n  block \\\"\"\" \n\"\"\"){name}}",
        "query($n:String=\"a\"){model(name:$n){name}}",
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *fault = fault_of(rows[i], "{\"v\":[1,2],\"x\":0.5}");
        /* two operations: none is chosen, but nothing is wrong with the document */
        if (*fault && !strstr(fault, "operationName"))
            fail_msg("%s: %s", rows[i], fault);
    }
}

static void these_are_wrong_and_where(void **state)
{
    static const struct {
        const char *document, *variables, *fault;
    } rows[] = {
        {"", NULL, "1:1 Syntax error: found the end, expected query, mutation, fragment or '{'"},
        {"{", NULL, "1:2 Syntax error: found the end, expected a field, '...' or '}'"},
        {"{}", NULL, "1:2 Syntax error: found '}', expected a field, '...' or '}'"},
        {"{models{name}", NULL, "1:14 Syntax error: found the end, expected a field, '...' or '}'"},
        {"{\n models {\r\n  name ? }}", NULL, "3:8 Syntax error: found '?', which begins nothing"},
        {"{model(name:\"a\nb\"){name}}", NULL,
         "1:15 Syntax error: a string holds a line end or a control character"},
        {"{model(name:\"\\q\"){name}}", NULL,
         "1:14 Syntax error: a string has an escape that GraphQL does not know"},
        {"{model(name:\"", NULL, "1:13 Syntax error: a string does not end"},
        {"{model(){name}}", NULL, "1:8 Syntax error: found ')', expected an argument"},
        {"{search(model:\"m\",limit:01){time}}", NULL, "1:25 Syntax error: '01' is not a number"},
        {"{search(model:\"m\",limit:1x){time}}", NULL, "1:25 Syntax error: '1' is not a number"},
        {"query($a:Int=$b){models{name}}", NULL,
         "1:14 Syntax error: found '$', expected a value without variables"},
        {"fragment on on Model{name}", NULL,
         "1:10 Syntax error: found 'on', expected a fragment's name, which 'on' is not"},
        {"type Query{a:Int}", NULL,
         "1:1 Syntax error: found 'type', expected query, mutation, fragment or '{'"},
        {"{nope}", NULL, "1:2 type Query has no field 'nope'"},
        {"{models}", NULL, "1:2 field 'models' is a Model: say which of its fields, as in models { name }"},
        {"{models{name{x}}}", NULL, "1:9 field 'name' is a String, which has no fields of its own"},
        {"{model{name}}", NULL, "1:2 field 'model' needs the argument 'name' of type String!"},
        {"{model(nam:\"x\",name:\"y\"){name}}", NULL, "1:12 field 'model' has no argument 'nam'"},
        {"{model(name:\"x\",name:\"y\"){name}}", NULL,
         "1:22 the argument 'name' stands twice at field 'model'"},
        {"{model(name:null){name}}", NULL, "1:13 argument 'name': found null, expected String!"},
        {"{model(name:x){name}}", NULL, "1:13 argument 'name': found a word 'x', expected String!"},
        {"{search(model:\"m\",limit:1.5){time}}", NULL,
         "1:25 argument 'limit': found a number '1.5', expected Int"},
        {"{search(model:\"m\",limit:3000000000){time}}", NULL,
         "1:25 argument 'limit': found a number '3000000000', expected Int"},
        {"{search(model:\"m\",vector:[1,null]){time}}", NULL,
         "1:29 argument 'vector': found null, expected Float!"},
        {"{search(model:\"m\",vector:[[1]]){time}}", NULL,
         "1:27 argument 'vector': found a list, expected Float!"},
        {"{a:models{name}a:model(name:\"x\"){name}}", NULL,
         "1:16 'a' stands for two different fields or arguments here: use an alias"},
        {"{model(name:\"x\"){name}model(name:\"y\"){name}}", NULL,
         "1:23 'model' stands for two different fields or arguments here: use an alias"},
        {"{models{a:name}models{a:collection}}", NULL,
         "1:23 'a' stands for two different fields or arguments here: use an alias"},
        {"{models{...f}}", NULL, "1:9 there is no fragment 'f'"},
        {"{models{name}}fragment f on Model{name}", NULL, "1:15 the fragment 'f' is never used"},
        {"{models{...f}}fragment f on Point{id}", NULL,
         "1:9 a fragment on Point never fits here, where a Model is"},
        {"{models{...f}}fragment f on Nope{id}", NULL,
         "1:9 a fragment cannot be on 'Nope', which is no type with fields"},
        {"{models{... on Int{id}}}", NULL, "1:9 a fragment cannot be on 'Int', which is no type with fields"},
        {"{models{...f}}fragment f on Model{...g}fragment g on Model{...f}", NULL,
         "1:60 the fragment 'f' contains itself"},
        {"{models{...f}}fragment f on Model{name}fragment f on Model{name}", NULL,
         "1:40 there are two fragments 'f'"},
        {"query a{models{name}}query a{models{name}}", NULL, "1:22 there are two operations 'a'"},
        {"{models{name}}query a{models{name}}", NULL, "1:1 an operation without a name must be the only one"},
        {"fragment f on Model{name}", NULL, "1:1 there is no operation, only fragments"},
        {"subscription{models{name}}", NULL, "1:1 there are no subscriptions here"},
        {"{models{name @nope}}", NULL, "1:14 there is no directive '@nope', there are @skip and @include"},
        {"{models{name @skip}}", NULL, "1:14 directive 'skip' needs the argument 'if' of type Boolean!"},
        {"{models{name @skip(if:true)@skip(if:true)}}", NULL, "1:28 the directive '@skip' stands here twice"},
        {"query @skip(if:true){models{name}}", NULL, "1:7 the directive '@skip' may not stand here"},
        {"{model(name:$n){name}}", NULL, "1:13 the variable $n is not defined by the operation"},
        {"query($n:String){model(name:$n){name}}", NULL,
         "1:29 the variable $n is of type String, expected String!"},
        {"query($n:[Int]){search(model:\"m\",vector:$n){time}}", NULL,
         "1:41 the variable $n is of type [Int], expected [Float!]"},
        {"query($n:Float!){search(model:\"m\",vector:$n){time}}", NULL,
         "1:42 the variable $n is of type Float!, expected [Float!]"},
        {"query($n:String!){models{name}}", "{\"n\":\"x\"}", "1:7 the variable $n is never used"},
        {"query($n:String!,$n:Int){model(name:$n){name}}", NULL, "1:18 the variable $n is defined twice"},
        {"query($n:Model){models{name}}", NULL, "1:7 the variable $n is of type 'Model', which no input has"},
        {"query($n:Nope){models{name}}", NULL, "1:7 the variable $n is of type 'Nope', which no input has"},
        {"query($n:Int=\"x\"){search(model:\"m\",limit:$n){time}}", NULL,
         "1:14 default of $n: found a string 'x', expected Int"},
        {"query($n:String!){model(name:$n){name}}", NULL, "1:7 variable $n: found null, expected String!"},
        {"query($n:String!){model(name:$n){name}}", "{\"n\":null}",
         "1:7 variable $n: found null, expected String!"},
        {"query($n:String!){model(name:$n){name}}", "{\"n\":5}",
         "1:7 variable $n: found a number '5', expected String!"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *fault = fault_of(rows[i].document, rows[i].variables);
        if (strcmp(fault, rows[i].fault) != 0)
            fail_msg("%s\nsays    %s\nwanted  %s", rows[i].document, fault, rows[i].fault);
    }
}

static void depth_and_work_have_a_ceiling(void **state)
{
    char *text = malloc(1 << 20), *at = text;
    for (unsigned i = 0; i < GQL_NEST_MAX + 5; i++)
        at += sprintf(at, "{a");
    assert_non_null(strstr(fault_of(text, NULL), "nested deeper than 32"));
    /* every fragment spreads the next one twice: without a ceiling 2^60 fields */
    at = text + sprintf(text, "{__schema{types{...f0}}}");
    for (unsigned i = 0; i < 60; i++)
        at += sprintf(at, "fragment f%u on __Type{a:ofType{...f%u}b:ofType{...f%u}}", i, i + 1, i + 1);
    sprintf(at, "fragment f60 on __Type{name}");
    const char *fault = fault_of(text, NULL);
    if (!strstr(fault, "more than"))
        fail_msg("%s", fault);
    at = text + sprintf(text, "{");
    for (unsigned i = 0; i < 5000; i++)
        at += sprintf(at, "a%u:__typename ", i);
    sprintf(at, "}");
    assert_non_null(strstr(fault_of(text, NULL), "more than 1000 fields in one place"));
    free(text);
}

static void strings_are_decoded(void **state)
{
    static const struct {
        const char *document, *text;
    } rows[] = {
        {"{model(name:\"a\\u0041\\n\\u{1F3C3}\\uD83C\\uDFC3\"){name}}", "aA\n\xF0\x9F\x8F\x83\xF0\x9F\x8F"
                                                                        "\x83"},
        {"{model(name:\"\"\"\n    one\n      two\n\n    three\n  \"\"\"){name}}", "one\n  two\n\nthree"},
        {"{model(name:\"\"\"a \\\"\"\" b\"\"\"){name}}", "a \"\"\" b"},
        {"{model(name:\"\"){name}}", ""},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(fault_of(rows[i].document, NULL), "");
        struct str got = node_get(request.document->selections->args, STR("name"))->text;
        if (!str_eq(got, str_of(rows[i].text)))
            fail_msg("%s became '%.*s'", rows[i].document, STR_ARG(got));
    }
}

static void arguments_have_their_defaults_and_variables(void **state)
{
    struct text out = {0};
    assert_string_equal(fault_of("query($v:[Float!],$s:String=\"x\"){search(model:$s,vector:$v,filter:{a:[$s,"
                                 "RED]}){time}}",
                                 "{\"v\":[1.50,2]}"),
                        "");
    const struct gql_selection *s = request.operation->selections;
    node_write(&out,
               gql_arguments(&request, gql_field(schema, gql_type(schema, STR("Query")), STR("search"))->args,
                             s, s->args, NULL));
    text_add(&out, (struct str){"", 1});
    assert_string_equal(out.p, "{\"model\":\"x\",\"vector\":[1.50,2],\"limit\":10,\"filter\":{\"a\":[\"x\","
                               "\"RED\"]}}");
    text_free(&out);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(these_are_right),     TEST(these_are_wrong_and_where), TEST(depth_and_work_have_a_ceiling),
        TEST(strings_are_decoded), TEST(arguments_have_their_defaults_and_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
