// Drives the official Elasticsearch client against a server, as a user of it would.
//
// Reads TWIN_URL, TWIN_USERNAME and TWIN_PASSWORD (an administrator's) and TWIN_CONTROL_URL (the
// twin's control door, which makes the server throttle; a real server has none). Prints one line
// for each thing that works; at the first that does not, says what was expected and exits with 1.
// Prints no key and no password.

import assert from "node:assert/strict";
import { Client } from "@elastic/elasticsearch";

const {
  TWIN_URL: node,
  TWIN_USERNAME: username,
  TWIN_PASSWORD: password,
  TWIN_CONTROL_URL: control,
} = process.env;

const connect = (auth) => new Client({ node, auth, maxRetries: 0 });
const admin = connect({ username, password });
const person = (name) => connect({ username: name, password: `pass-of-${name}` });
const keeper = (key) => connect({ apiKey: key.encoded });

/** Waits for the error of a call that has to fail, and looks at its type and words. */
async function refused(call, status, type, words) {
  const error = await call.then(
    () => assert.fail(`expected status ${status}, but it worked`),
    (error) => error,
  );
  assert.equal(error.name, "ResponseError", `${error.name}: ${error.message}`);
  assert.equal(error.statusCode, status, error.message);
  if (type) assert.equal(error.body.error.type, type);
  if (words) assert.match(error.body.error.reason, words);
  return error;
}

const ids = ({ api_keys: keys }) => keys.map(({ id }) => id).sort();
const sorted = (...keys) => keys.map(({ id }) => id).sort();

const steps = {
  async "root document, and the product is what it says"() {
    const info = await admin.info();
    assert.match(info.version.number, /^8\.\d+\.\d+$/);
    assert.match(info.cluster_uuid, /^[\w-]{22}$/);
    assert.equal(info.version.build_flavor, "default");
  },

  async "licence"() {
    const { license } = await admin.license.get();
    assert.equal(license.status, "active");
    assert.equal(license.type, "basic");
  },

  async "who am I"() {
    const me = await admin.security.authenticate();
    assert.equal(me.username, username);
    assert.deepEqual(me.roles, ["superuser"]);
    assert.deepEqual(me.authentication_realm, { name: "reserved", type: "reserved" });
  },

  async "a wrong password"() {
    const wrong = connect({ username, password: "not this one" }).security.authenticate();
    const error = await refused(wrong, 401, "security_exception", /unable to authenticate user/);
    assert.equal(error.body.error.header["WWW-Authenticate"].length, 2);
  },

  async "make roles and users"() {
    const role = async (name, body) => {
      const { role } = await admin.security.putRole({ name, refresh: true, ...body });
      assert.equal(role.created, true);
    };
    await role("npm-own", { cluster: ["manage_own_api_key"] });
    await role("npm-granter", {
      cluster: ["grant_api_key", "manage_api_key", "read_security"],
      run_as: ["npm-*"],
    });
    await role("npm-none", { cluster: ["monitor"] });
    for (const name of ["npm-own", "npm-granter", "npm-none"]) {
      const user = { username: name, password: `pass-of-${name}`, roles: [name], refresh: true };
      assert.deepEqual(await admin.security.putUser(user), { created: true });
      assert.deepEqual(await admin.security.putUser({ ...user, metadata: { n: 1 } }), {
        created: false,
      });
    }
    const users = await admin.security.getUser({ username: ["npm-own", "npm-none"] });
    assert.deepEqual(Object.keys(users).sort(), ["npm-none", "npm-own"]);
    assert.deepEqual(users["npm-own"].metadata, { n: 1 });
    assert.equal(users["npm-own"].enabled, true);
  },

  async "a user that is not there"() {
    await refused(admin.security.getUser({ username: "npm-nobody" }), 404);
  },

  async "make keys: one with an end, rights and metadata"(world) {
    const own = person("npm-own");
    world.first = await own.security.createApiKey({
      name: "npm first",
      expiration: "1h",
      metadata: { by: "npm", deep: { er: [1, null] } },
      role_descriptors: { some: { cluster: ["manage_own_api_key"] } },
      refresh: true,
    });
    assert.match(world.first.id, /^[\w-]{20,22}$/);
    assert.match(world.first.api_key, /^[\w-]{22}$/);
    const plain = Buffer.from(world.first.encoded, "base64").toString();
    assert.equal(plain, `${world.first.id}:${world.first.api_key}`);
    const lasts = world.first.expiration - Date.now();
    assert.ok(lasts > 3_500_000 && lasts <= 3_600_000, `it lasts ${lasts} ms`);
    world.second = await own.security.createApiKey({ name: "npm second", refresh: true });
    assert.ok(!("expiration" in world.second));
    world.twin = await own.security.createApiKey({ name: "npm second", refresh: true });
    assert.notEqual(world.twin.id, world.second.id);
  },

  async "a key is who it is"({ first }) {
    const me = await keeper(first).security.authenticate();
    assert.equal(me.username, "npm-own");
    assert.equal(me.authentication_type, "api_key");
    assert.deepEqual(me.api_key, { id: first.id, name: first.name });
  },

  async "names, metadata and ends that are refused"() {
    const invalid = "action_request_validation_exception";
    const make = (wish) => admin.security.createApiKey(wish);
    await refused(make({ name: " x" }), 400, invalid, /whitespace/);
    await refused(make({ name: "_x" }), 400, invalid, /underscore/);
    await refused(make({ name: "x".repeat(257) }), 400, invalid, /256/);
    await refused(make({ name: "x", metadata: { _x: 1 } }), 400, invalid, /metadata/);
    await refused(make({ name: "x", expiration: "1y" }), 400, "x_content_parse_exception");
  },

  async "get a key, in one form and without its text"({ first }) {
    const found = await admin.security.getApiKey({ id: first.id, with_limited_by: true });
    const [key] = found.api_keys;
    assert.equal(key.name, "npm first");
    assert.equal(key.type, "rest");
    assert.equal(key.username, "npm-own");
    assert.equal(key.realm, "default_native");
    assert.equal(key.invalidated, false);
    assert.equal(key.expiration, first.expiration);
    assert.deepEqual(key.metadata, { by: "npm", deep: { er: [1, null] } });
    assert.deepEqual(key.role_descriptors.some.indices, []);
    assert.deepEqual(Object.keys(key.limited_by[0]), ["npm-own"]);
    assert.ok(!JSON.stringify(found).includes(first.api_key), "the text is shown again");
  },

  async "get keys by every filter"({ first, second, twin }) {
    const get = (filter) => admin.security.getApiKey(filter);
    assert.deepEqual(ids(await get({ name: "npm second" })), sorted(second, twin));
    assert.deepEqual(ids(await get({ name: "npm*" })), sorted(first, second, twin));
    assert.deepEqual(ids(await get({ username: "npm-own" })), sorted(first, second, twin));
    const both = { username: "npm-own", realm_name: "default_native", active_only: true };
    assert.deepEqual(ids(await get(both)), sorted(first, second, twin));
    assert.deepEqual(ids(await get({ realm_name: "nowhere" })), []);
    assert.deepEqual(ids(await get({ name: "npm nothing" })), []);
    const own = person("npm-own").security;
    assert.deepEqual(ids(await own.getApiKey({ owner: true })), sorted(first, second, twin));
    await refused(own.getApiKey({}), 403, "security_exception", /unauthorized for user \[npm-own\]/);
    const error = await refused(get({ id: "nothing" }), 404);
    assert.deepEqual(error.body, { api_keys: [] });
    await refused(get({ id: "a", name: "b" }), 400, "action_request_validation_exception");
  },

  async "query keys, sorted and page by page"({ first, second, twin }) {
    const query = (wish) => admin.security.queryApiKeys(wish);
    const marked = await query({ query: { term: { "metadata.by": "npm" } } });
    assert.equal(marked.total, 1);
    assert.deepEqual(ids(marked), [first.id]);
    const live = { bool: { filter: [{ prefix: { name: "npm" } }, { term: { invalidated: false } }] } };
    const page = await query({ query: live, sort: ["name", "creation"], size: 2 });
    assert.equal(page.total, 3);
    assert.deepEqual(page.api_keys.map(({ id }) => id).slice(0, 1), [first.id]);
    const next = await query({
      query: live,
      sort: ["name", "creation"],
      size: 2,
      search_after: page.api_keys[1]._sort,
    });
    assert.deepEqual(next.api_keys.map(({ id }) => id), [twin.id]);
    const some = await query({ query: { ids: { values: [second.id, "nothing"] } } });
    assert.deepEqual(ids(some), [second.id]);
    const ending = { bool: { must: [{ prefix: { name: "npm" } }, { exists: { field: "expiration" } }] } };
    assert.deepEqual(ids(await query({ query: ending })), [first.id]);
    await refused(query({ query: { term: { realm: "x" } } }), 400, "illegal_argument_exception");
  },

  async "what may I do"({ first }) {
    const ask = { cluster: ["manage_own_api_key", "manage_api_key"] };
    const own = await person("npm-own").security.hasPrivileges(ask);
    assert.deepEqual(own.cluster, { manage_own_api_key: true, manage_api_key: false });
    assert.equal(own.has_all_requested, false);
    const key = await keeper(first).security.hasPrivileges({ cluster: ["manage_own_api_key"] });
    assert.equal(key.has_all_requested, true);
    const all = await admin.security.hasPrivileges(ask);
    assert.equal(all.has_all_requested, true);
  },

  async "update a key: only its owner may"({ first }) {
    const own = person("npm-own").security;
    const update = { id: first.id, metadata: { by: "npm", round: 2 } };
    assert.deepEqual(await own.updateApiKey(update), { updated: true });
    assert.deepEqual(await own.updateApiKey(update), { updated: false });
    assert.deepEqual(await own.updateApiKey({ id: first.id, expiration: "2h" }), { updated: true });
    await refused(admin.security.updateApiKey(update), 404, "resource_not_found_exception");
    const as = { headers: { "es-security-runas-user": "npm-own" } };
    const through = { id: first.id, metadata: { by: "npm", round: 3 } };
    assert.deepEqual(await admin.security.updateApiKey(through, as), { updated: true });
    const [key] = (await own.getApiKey({ id: first.id, owner: true })).api_keys;
    assert.deepEqual(key.metadata, { by: "npm", round: 3 });
    assert.ok(key.expiration > first.expiration);
  },

  async "update many keys at once"({ first, second }) {
    const done = await person("npm-own").security.bulkUpdateApiKeys({
      ids: [first.id, second.id, "nothing"],
      metadata: { by: "npm", round: 3 },
    });
    assert.deepEqual(done.updated, [second.id]);
    assert.deepEqual(done.noops, [first.id]);
    assert.equal(done.errors.count, 1);
    assert.equal(done.errors.details.nothing.type, "resource_not_found_exception");
  },

  async "a key makes keys that may do nothing"({ second }) {
    const make = (wish) => keeper(second).security.createApiKey(wish);
    await refused(make({ name: "npm x" }), 400, "illegal_argument_exception", /derived api keys/);
    const nothing = { name: "npm derived", role_descriptors: { none: {} }, refresh: true };
    const derived = await make(nothing);
    await refused(keeper(derived).info(), 403, "security_exception", /API key id/);
    const [key] = (await admin.security.getApiKey({ id: derived.id })).api_keys;
    assert.equal(key.realm, "_es_api_key");
  },

  async "grant a key to somebody else"(world) {
    const granter = person("npm-granter").security;
    const grant = (wish) =>
      granter.grantApiKey({ grant_type: "password", api_key: { name: "npm granted" }, ...wish });
    const theirs = { username: "npm-none", password: "pass-of-npm-none" };
    world.granted = await grant(theirs);
    const me = await keeper(world.granted).security.authenticate();
    assert.equal(me.username, "npm-none");
    const own = { username: "npm-granter", password: "pass-of-npm-granter", run_as: "npm-none" };
    const other = await grant(own);
    const [key] = (await admin.security.getApiKey({ id: other.id })).api_keys;
    assert.equal(key.username, "npm-none");
    const wrong = { ...theirs, password: "not this one" };
    await refused(grant(wrong), 403, "security_exception", /Failed to authenticate api key grant/);
    await refused(grant({ ...own, run_as: username }), 403, "security_exception", /unauthorized/);
    const may = person("npm-own").security.grantApiKey({
      grant_type: "password",
      ...theirs,
      api_key: { name: "npm no" },
    });
    await refused(may, 403, "security_exception", /api_key\/grant/);
  },

  async "invalidate keys, as often as one likes"({ first, second, twin }) {
    const nothing = { invalidated_api_keys: [], previously_invalidated_api_keys: [], error_count: 0 };
    const own = person("npm-own").security;
    await refused(own.invalidateApiKey({ ids: [first.id] }), 403, "security_exception");
    const done = await own.invalidateApiKey({ ids: [first.id], owner: true });
    assert.deepEqual(done, { ...nothing, invalidated_api_keys: [first.id] });
    assert.deepEqual(await own.invalidateApiKey({ ids: [first.id], owner: true }), nothing);
    assert.deepEqual(await admin.security.invalidateApiKey({ ids: ["nothing"] }), nothing);
    // The client sends no body at all when there is nothing to say.
    await refused(admin.security.invalidateApiKey({}), 400, "parse_exception");
    const named = await admin.security.invalidateApiKey({ name: "npm second" });
    assert.deepEqual(named.invalidated_api_keys.sort(), sorted(second, twin));
  },

  async "an invalidated key opens nothing, and stays listed"({ first }) {
    const error = await refused(keeper(first).security.authenticate(), 401, "security_exception");
    const why = error.body.error.additional_unsuccessful_credentials;
    assert.equal(why, `API key: api key [${first.id}] has been invalidated`);
    const [key] = (await admin.security.getApiKey({ id: first.id })).api_keys;
    assert.equal(key.invalidated, true);
    assert.ok(key.invalidation >= key.creation);
    const update = person("npm-own").security.updateApiKey({ id: first.id });
    await refused(update, 400, "illegal_argument_exception", /cannot update invalidated/);
  },

  async "a throttled call"() {
    if (!control) return;
    const fault = { fault: "throttled", retryAfter: 1, times: { next: 1 } };
    const set = await fetch(`${control}/faults`, { method: "POST", body: JSON.stringify(fault) });
    assert.equal(set.status, 204);
    await refused(admin.info(), 429, "circuit_breaking_exception");
    await admin.info();
  },

  async "disable, enable, another password"() {
    const none = person("npm-none").security;
    await admin.security.disableUser({ username: "npm-none" });
    await refused(none.authenticate(), 401, "security_exception");
    await admin.security.enableUser({ username: "npm-none" });
    await none.authenticate();
    const other = { username: "npm-none", password: "another-one", refresh: true };
    await admin.security.changePassword(other);
    await refused(none.authenticate(), 401, "security_exception");
  },

  async "delete users and roles; a key outlives its user"({ granted }) {
    for (const name of ["npm-own", "npm-granter", "npm-none"]) {
      const gone = await admin.security.deleteUser({ username: name, refresh: true });
      assert.deepEqual(gone, { found: true });
      assert.deepEqual(await admin.security.deleteRole({ name, refresh: true }), { found: true });
    }
    await refused(admin.security.deleteUser({ username: "npm-own" }), 404);
    const me = await keeper(granted).security.authenticate();
    assert.equal(me.username, "npm-none");
    const ended = await admin.security.invalidateApiKey({ username: "npm-none" });
    assert.equal(ended.invalidated_api_keys.length, 2);
    await refused(keeper(granted).security.authenticate(), 401, "security_exception");
  },
};

const world = {};
let step = "connect";
try {
  for (step of Object.keys(steps)) {
    await steps[step](world);
    console.log(`ok  ${step}`);
  }
} catch (error) {
  console.error(`FAILED  ${step}: ${error.message}`);
  process.exitCode = 1;
}
