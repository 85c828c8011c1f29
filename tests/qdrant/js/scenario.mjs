// What the JavaScript client is asked to do on one way to Qdrant. usage: node scenario.mjs URL PREFIX
// Prints [[step, answer, answer to the same again or null], ...]; an error is an answer too. Its packages are
// found below JS_MODULES. Works in collections PREFIX*, which it removes.
import { createRequire } from 'node:module';
import { argv, env, stdout } from 'node:process';

const { QdrantClient } = createRequire(env.JS_MODULES + '/')('@qdrant/js-client-rest');
const [url, prefix] = argv.slice(2);
const client = new QdrantClient({ url, apiKey: env.QDRANT_API_KEY || undefined, checkCompatibility: false });
const c = prefix, alias = prefix + '_alias';
const red = { must: [{ key: 'color', match: { value: 'red' } }] };

function vector(n) {
    let state = n * 2654435761 % 4294967296;
    return Array.from({ length: 16 }, () => {
        state = (state * 1664525 + 1013904223) % 4294967296;
        return Math.round(state / 4294967296 * 20000 - 10000) / 10000;
    });
}

const point = (n) => ({ id: n, vector: vector(n), payload: { n, color: ['red', 'green', 'blue'][n % 3] } });
const range = (n) => Array.from({ length: n }, (_, i) => i);
const wait = true;
const whole = { query: vector(9005), limit: 6, with_payload: true, with_vector: true };
const make_alias = { create_alias: { collection_name: c, alias_name: alias } };

// [name, what, whether it only reads]
const steps = [
    ['create', () => client.createCollection(c, { vectors: { size: 16, distance: 'Cosine' } })],
    ['create again', () => client.createCollection(c, { vectors: { size: 16, distance: 'Cosine' } })],
    ['exists', () => client.collectionExists(c), true],
    ['upsert', () => client.upsert(c, { wait, points: range(120).map(point) })],
    ['index', () => client.createPayloadIndex(c, { wait, field_name: 'color', field_schema: 'keyword' })],
    ['search', () => client.search(c, { vector: vector(9001), limit: 5 }), true],
    ['search filtered', () => client.search(c,
        { vector: vector(9002), filter: red, params: { hnsw_ef: 32 } }), true],
    ['search batch', () => client.searchBatch(c, { searches: [{ vector: vector(9003), limit: 3 }] }), true],
    ['search groups', () => client.searchPointGroups(c,
        { vector: vector(9004), group_by: 'color', group_size: 2, limit: 3 }), true],
    ['recommend', () => client.recommend(c, { positive: [1, 2], negative: [3], limit: 4 }), true],
    ['recommend batch', () => client.recommendBatch(c, { searches: [{ positive: [4], limit: 2 }] }), true],
    ['recommend groups', () => client.recommendPointGroups(c,
        { positive: [5], group_by: 'color', group_size: 1, limit: 2 }), true],
    ['discover', () => client.discoverPoints(c,
        { target: 6, context: [{ positive: 7, negative: 8 }], limit: 3 }), true],
    ['discover batch', () => client.discoverBatchPoints(c, { searches: [{ target: 6, limit: 3 }] }), true],
    ['query', () => client.query(c, whole), true],
    ['query prefetch', () => client.query(c, {
        prefetch: [{ query: vector(9006), limit: 20 }, { query: vector(9007), filter: red, limit: 20 }],
        query: { fusion: 'dbsf' }, limit: 5,
    }), true],
    ['query batch', () => client.queryBatch(c,
        { searches: range(3).map((n) => ({ query: vector(n), limit: 2 })) }), true],
    ['query groups', () => client.queryGroups(c,
        { query: vector(9008), group_by: 'color', group_size: 2, limit: 3 }), true],
    ['scroll', () => client.scroll(c, { limit: 7, filter: red }), true],
    ['count', () => client.count(c), true],
    ['facet', () => client.facet(c, { key: 'color', exact: true }), true],
    ['retrieve', () => client.retrieve(c, { ids: [2, 1], with_vector: true }), true],
    ['wrong size', () => client.query(c, { query: [1, 2, 3] }), true],
    ['not there', () => client.query(prefix + '_none', { query: [1, 2, 3] }), true],
    ['set payload', () => client.setPayload(c, { wait, payload: { seen: true }, points: [1] })],
    ['retrieve after it', () => client.retrieve(c, { ids: [2, 1], with_vector: true }), true],
    ['overwrite payload', () => client.overwritePayload(c, { wait, payload: { only: 1 }, points: [2] })],
    ['delete payload', () => client.deletePayload(c, { wait, keys: ['n'], points: [3] })],
    ['clear payload', () => client.clearPayload(c, { wait, points: [4] })],
    ['update vectors', () => client.updateVectors(c, { wait, points: [{ id: 5, vector: vector(77) }] })],
    ['batch', () => client.batchUpdate(c, { wait, operations: [{ delete: { points: [6] } }] })],
    ['delete', () => client.delete(c, { wait, points: [7] })],
    ['query after them', () => client.query(c, whole), true],
    ['count after them', () => client.count(c), true],
    ['alias', () => client.updateCollectionAliases({ actions: [make_alias] })],
    ['aliases', () => client.getCollectionAliases(c), true],
    ['count by alias', () => client.count(alias), true],
    ['update', () => client.updateCollection(c, { optimizers_config: { indexing_threshold: 30000 } })],
    ['drop index', () => client.deletePayloadIndex(c, 'color')],
    ['drop', () => client.deleteCollection(c)],
    ['query after drop', () => client.query(c, { query: vector(9005), limit: 6 }), true],
];

async function ask(what) {
    try {
        return plain(await what());
    } catch (e) {
        return plain({ error: e.status ?? String(e), data: e.data ?? null });
    }
}

// As JSON, without the time that an answer took.
const plain = (value) => JSON.parse(JSON.stringify(value ?? null, (k, v) => (k === 'time' ? undefined : v)));

const out = [];
try {
    for (const [name, what, reads] of steps) {
        const first = await ask(what);
        out.push([name, first, reads ? await ask(what) : null]);
    }
} finally {
    await client.deleteCollection(c).catch(() => {});
}
stdout.write(JSON.stringify(out));
