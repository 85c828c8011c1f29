// What graphql-http's audits and graphql-js say of a server: one JSON document on stdout.
// usage: node audit.mjs URL [--documents <a JSON list of documents on stdin>]
import { readFileSync } from 'node:fs';
import { auditServer } from 'graphql-http';
import { buildClientSchema, getIntrospectionQuery, parse, printSchema, validate, validateSchema } from 'graphql';

const [url, mode] = process.argv.slice(2);
const ask = async (query) => {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return answer.json();
};
const introspection = await ask(getIntrospectionQuery({
  descriptions: true, specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true, inputValueDeprecation: true,
}));
const schema = buildClientSchema(introspection.data);
const out = { schema: printSchema(schema), schemaErrors: validateSchema(schema).map((e) => e.message) };
if (mode === '--documents') {
  out.verdicts = [];
  for (const document of JSON.parse(readFileSync(0, 'utf8'))) {
    let theirs;
    try {
      theirs = validate(schema, parse(document)).map((e) => e.message);
    } catch (e) {
      theirs = [e.message];
    }
    const answer = await ask(document);
    const ours = answer.data === undefined ? (answer.errors ?? []).map((e) => e.message) : [];
    out.verdicts.push({ document, theirs, ours });
  }
} else {
  out.audits = (await auditServer({ url })).map(({ id, name, status, reason }) => ({ id, name, status, reason }));
}
console.log(JSON.stringify(out));
