"""Payload index schemas: REST <-> engine."""
import qdrant_edge as q

from errors import FormatError

S = q.PayloadSchemaType
# REST name -> engine type, class of its parameters, keys those take as they are
TYPES = {
    "keyword": (S.Keyword, q.KeywordIndexParams, ("is_tenant", "on_disk", "enable_hnsw", "prefix")),
    "integer": (
        S.Integer,
        q.IntegerIndexParams,
        ("lookup", "range", "is_principal", "on_disk", "enable_hnsw"),
    ),
    "float": (S.Float, q.FloatIndexParams, ("is_principal", "on_disk", "enable_hnsw")),
    "geo": (S.Geo, q.GeoIndexParams, ("on_disk", "enable_hnsw")),
    "text": (
        S.Text,
        q.TextIndexParams,
        (
            "min_token_len",
            "max_token_len",
            "lowercase",
            "ascii_folding",
            "phrase_matching",
            "on_disk",
            "enable_hnsw",
        ),
    ),
    "bool": (S.Bool, q.BoolIndexParams, ("on_disk", "enable_hnsw")),
    "datetime": (S.Datetime, q.DatetimeIndexParams, ("is_principal", "on_disk", "enable_hnsw")),
    "uuid": (S.Uuid, q.UuidIndexParams, ("is_tenant", "on_disk", "enable_hnsw")),
}
TOKENIZERS = {"prefix": q.TokenizerType.Prefix, "whitespace": q.TokenizerType.Whitespace,
              "word": q.TokenizerType.Word, "multilingual": q.TokenizerType.Multilingual}


def schema_in(schema):
    """`field_schema`: a type's name or an object with its `type` and parameters."""
    name = schema.get("type") if type(schema) is dict else schema
    if type(name) is not str or name not in TYPES:
        names = ", ".join(f"`{n}`" for n in TYPES)
        raise FormatError(f"unknown variant `{name}`, expected one of {names}")
    engine_type, params, keys = TYPES[name]
    if type(schema) is not dict:
        return engine_type
    given = {k: schema[k] for k in keys if schema.get(k) is not None}
    if schema.get("tokenizer") is not None:
        if schema["tokenizer"] not in TOKENIZERS:
            raise FormatError(
                f"unknown variant `{schema['tokenizer']}`, expected one of `prefix`, `whitespace`, "
                f"`word`, `multilingual`"
            )
        given["tokenizer"] = TOKENIZERS[schema["tokenizer"]]
    return params(**given)


def schema_out(schema, points: int) -> dict:
    """One entry of `payload_schema` in a collection's info."""
    if type(schema) is dict:
        return {"data_type": schema["type"], "params": schema, "points": points}
    return {"data_type": schema, "points": points}
