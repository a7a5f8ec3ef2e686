// Drives the official Octopus client against a server, as a user of it would.
//
// Reads TWIN_URL, TWIN_API_KEY (an administrator's) and TWIN_CONTROL_URL (the twin's
// control door, which makes the server throttle). Prints one line for each thing that works;
// at the first that does not, says what was expected and exits with 1. Prints no key.

import assert from "node:assert/strict";
import api from "@octopusdeploy/api-client";

const { Client, SpaceRepository, userGetCurrent } = api;
const { TWIN_URL: url, TWIN_API_KEY: apiKey, TWIN_CONTROL_URL: control } = process.env;

const connect = (key) =>
  Client.create({ userAgentApp: "testbed", instanceURL: url, apiKey: key });
const name = (what) => `npm ${what}`;

/** Waits for the error of a call that has to fail. */
async function refused(call, status, words) {
  const error = await call.then(
    () => assert.fail(`expected status ${status}, but it worked`),
    (error) => error,
  );
  assert.equal(error.StatusCode, status, `status of: ${error.message}`);
  assert.match(error.message, words);
}

/** Follows Page.Next until it is gone, as the official clients do. */
async function pages(client, path, args) {
  const items = [];
  let page = await client.get(path, args);
  for (;;) {
    items.push(...page.Items);
    const next = page.Links["Page.Next"];
    if (!next) return { items, total: page.TotalResults };
    page = await client.get(next);
  }
}

const service = (client, username) =>
  client.doCreate("~/api/users", {
    Username: username,
    DisplayName: username,
    IsActive: true,
    IsService: true,
  });

const steps = {
  async "root document and server information"({ client }) {
    const server = await client.getServerInformation();
    assert.match(server.version, /^\d+\.\d+\.\d+$/);
    assert.match(server.installationId, /^[0-9a-f-]{36}$/);
  },

  async "spaces"({ client }) {
    const spaces = await new SpaceRepository(client).list({ partialName: "Default", take: 10 });
    assert.equal(spaces.Items[0].IsDefault, true);
    const space = await new SpaceRepository(client).get(spaces.Items[0].Id);
    assert.equal(space.Name, "Default");
  },

  async "who am I"({ client }) {
    const me = await userGetCurrent(client);
    assert.equal(me.IsRequestor, true);
    assert.equal(me.IsService, false);
  },

  async "make a service account and read it back"(world) {
    const made = await service(world.client, name("account"));
    assert.equal(made.IsService, true);
    assert.equal(made.IsRequestor, false);
    assert.deepEqual(await world.client.get("~/api/users{/id}", { id: made.Id }), made);
    world.account = made;
  },

  async "a name that is taken is refused"({ client }) {
    await refused(service(client, name("account").toUpperCase()), 400, /problem with your request.*\n.*taken/s);
  },

  async "an account that is not there"({ client }) {
    await refused(client.get("~/api/users/Users-999999"), 404, /'Users-999999' was not found/);
  },

  async "make a key with an end, by the account's own link"(world) {
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    const path = world.account.Links.ApiKeys;
    const made = await world.client.doCreate(path, {
      Purpose: "npm purpose",
      UserId: world.account.Id,
      Expires: expires,
    });
    assert.match(made.ApiKey, /^API-[A-Z\d]+$/);
    assert.equal(new Date(made.Expires).toISOString(), expires);
    world.key = made;
  },

  async "the key works and is the account's"({ account, key }) {
    const me = await userGetCurrent(await connect(key.ApiKey));
    assert.equal(me.Id, account.Id);
  },

  async "list and read keys, without their text"({ client, account, key }) {
    const list = await client.get(account.Links.ApiKeys);
    assert.deepEqual(list.Items.map(({ Id }) => Id), [key.Id]);
    const one = await client.get(account.Links.ApiKeys, { id: key.Id });
    assert.equal(one.ApiKey.HasValue, true);
    assert.equal(one.ApiKey.NewValue, null);
    assert.ok(!JSON.stringify([list, one]).includes(key.ApiKey), "the text is shown again");
  },

  async "a key without a wish gets the server's default"({ client, account }) {
    const { ApiKeyDefaultExpiryDays: days } = await client.get("~/api/authentication");
    const made = await client.doCreate(account.Links.ApiKeys, { Purpose: "no wish" });
    const lasts = (new Date(made.Expires) - new Date(made.Created)) / 86_400_000;
    assert.equal(lasts, days);
    await client.del(made.Links.Self);
  },

  async "no key for another person"({ client }) {
    const human = await client.doCreate("~/api/users", {
      Username: name("human"),
      DisplayName: name("human"),
      Password: "Correct-horse-9",
    });
    await refused(
      client.doCreate(human.Links.ApiKeys, { Purpose: "no", UserId: human.Id }),
      403,
      /You do not have permission/,
    );
  },

  async "without the right"({ key }) {
    const client = await connect(key.ApiKey);
    await refused(client.get("~/api/users"), 403, /Missing permission: UserView/);
  },

  async "an end beyond the maximum is refused"({ client, account }) {
    const far = new Date(Date.now() + 4000 * 86_400_000).toISOString();
    await refused(client.doCreate(account.Links.ApiKeys, { Expires: far }), 400, /days/);
  },

  async "make a team and put the account in it"({ client, account }) {
    const wish = { Name: name("team"), MemberUserIds: [], ExternalSecurityGroups: [] };
    const team = await client.doCreate("~/api/teams", wish);
    team.MemberUserIds.push(account.Id);
    const changed = await client.doUpdate(team.Links.Self, team);
    assert.deepEqual(changed.MemberUserIds, [account.Id]);
    assert.deepEqual(changed.Links, team.Links);
    const teams = await client.get(account.Links.Teams);
    assert.ok(teams.some(({ Id }) => Id === team.Id));
    await client.del(team.Links.Self);
  },

  async "user roles"({ client }) {
    const role = await client.doCreate("~/api/userroles", {
      Name: name("role"),
      GrantedSystemPermissions: ["UserView"],
      GrantedSpacePermissions: [],
    });
    const roles = await client.get("~/api/userroles/all");
    assert.ok(roles.some(({ Id }) => Id === role.Id));
    await client.del(role.Links.Self);
  },

  async "OIDC identities"({ client, account }) {
    const path = `~/api/serviceaccounts/${account.Id}/oidcidentities`;
    const wish = { ServiceAccountId: account.Id, Name: "n", Issuer: "https://i.test", Subject: "s" };
    const { Id } = await client.doCreate(`${path}/create/v1`, wish);
    const list = await client.get(`${path}/v1{?skip,take}`, { skip: 0, take: 30 });
    assert.equal(list.Count, 1);
    assert.match(list.ExternalId, /^[0-9a-f-]{36}$/);
    await client.doUpdate(`${path}/${Id}/v1`, { ...wish, Id, Subject: "other" });
    const one = await client.get(`${path}/${Id}/v1`);
    assert.equal(one.Subject, "other");
    await client.del(`${path}/${Id}/v1`);
    await refused(client.get(`${path}/${Id}/v1`), 404, /was not found/);
  },

  async "filter users, and follow pages"({ client }) {
    for (let n = 0; n < 35; n += 1) await service(client, name(`page ${n}`));
    const found = await pages(client, "~/api/users{?filter}", { filter: name("PAGE") });
    assert.equal(found.total, 35);
    assert.equal(new Set(found.items.map(({ Id }) => Id)).size, 35);
  },

  async "a throttled call"({ client }) {
    const fault = { fault: "throttled", retryAfter: 1, path: "/api/users/me", times: { next: 1 } };
    const set = await fetch(`${control}/faults`, { method: "POST", body: JSON.stringify(fault) });
    assert.equal(set.status, 204);
    await refused(userGetCurrent(client), 429, /./);
    await userGetCurrent(client);
  },

  async "delete the key"({ client, key }) {
    await client.del(key.Links.Self);
    await refused(connect(key.ApiKey).then(userGetCurrent), 401, /API key you provided was not valid/);
    await refused(client.del(key.Links.Self), 404, /was not found/);
  },

  async "delete the account"({ client, account }) {
    await client.del(account.Links.Self);
    await refused(client.get(account.Links.Self), 404, /was not found/);
  },
};

const world = {};
let step = "connect";
try {
  world.client = await connect(apiKey);
  for (step of Object.keys(steps)) {
    await steps[step](world);
    console.log(`ok  ${step}`);
  }
} catch (error) {
  console.error(`FAILED  ${step}: ${error.message}`);
  process.exitCode = 1;
}
