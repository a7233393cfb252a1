// The command as a person meets it: a fleet is made, its hub runs, a token is made, and what goes wrong is one line.
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parseJoinToken } from "../shared/join-token.ts";
import { isthmus, isthmusProcess, runningHub, type RunningHub } from "./testing/cli.ts";

/** A limit for a machine with ten times more to do than it has cores; alone each test takes a second or less. */
const busyMachineMs = 180_000;
vi.setConfig({ testTimeout: busyMachineMs });

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-cli-")));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("from nothing to a join token", () => {
  let hub: RunningHub | undefined;
  const data = () => join(folder, "data");
  beforeAll(async () => {
    const made = await isthmus(["init", "acme.mesh", "--data", data(), "--advertise", "127.0.0.1:8443"]);
    expect(made).toMatchObject({ status: 0 });
    expect(made.stderr).toContain(`next: isthmus hub --data ${data()}`);
    hub = await runningHub(data());
  }, busyMachineMs);
  afterAll(async () => {
    expect(await hub?.stop()).toBe(0);
  }, busyMachineMs);

  it("prints the token alone on standard output, and the next command for the reader", async () => {
    const { status, stdout, stderr } = await isthmus(["token", "create", "east", "--data", data()]);
    expect(status).toBe(0);
    const token = parseJoinToken(stdout);
    expect(token).toMatchObject({ ok: true, value: { cluster: "east", hub: "127.0.0.1:8443" } });
    expect(stderr).toContain("next: isthmus join --token-file FILE --context east");
  });

  it("keeps the token's secret out of the hub's log and out of Redis", async () => {
    const { stdout } = await isthmus(["token", "create", "west", "--data", data(), "-o", "json"]);
    const { token } = JSON.parse(stdout) as { token: string };
    const parsed = parseJoinToken(token);
    const secret = Buffer.from(parsed.ok ? parsed.value.secret : []);
    const aof = readFileSync(join(data(), "redis", "appendonlydir", "appendonly.aof.1.incr.aof"));
    expect(aof.includes("token:")).toBe(true);
    for (const form of [secret, secret.toString("base64url"), secret.toString("base64"), secret.toString("hex")]) {
      expect(aof.includes(form)).toBe(false);
      expect(hub?.log()).not.toContain(form.toString());
    }
  });

  it("lists tokens without their secrets, and withdraws one that nobody used", async () => {
    const made = await isthmus(["token", "create", "south", "--accept", "--data", data(), "-o", "json"]);
    const { id, token } = JSON.parse(made.stdout) as { id: string; token: string };
    const listed = await isthmus(["token", "list", "--data", data()]);
    expect(listed.stdout).toMatch(new RegExp(`${id} +south +unused +in 15m +yes +0`));
    expect(listed.stdout).not.toContain(token);
    expect(await isthmus(["token", "revoke", id, "--data", data()])).toMatchObject({ status: 0 });
    expect((await isthmus(["token", "list", "--data", data()])).stdout).toMatch(new RegExp(`${id} +south +withdrawn`));
    const again = await isthmus(["token", "revoke", "0123", "--data", data()]);
    expect(again).toMatchObject({ status: 1, stdout: "" });
    expect(again.stderr).toMatch(/^error ISTHMUS_TOKEN_UNKNOWN: no unused token 0123; isthmus token list shows them/);
  });

  it("tells what operators did, and that nobody changed the record of it", async () => {
    await isthmus(["token", "create", "audited", "--data", data()]);
    const { stdout } = await isthmus(["audit", "--data", data()]);
    expect(stdout).toMatch(/operator +token\.create +[0-9a-f]{16} +cluster=audited/);
    const verified = await isthmus(["audit", "--verify", "--data", data(), "-o", "json"]);
    expect(JSON.parse(verified.stdout)).toMatchObject({ intact: true });
  });

  it.each(["accept", "reject", "leave", "revoke"])("says that there is no member to %s", async (verb) => {
    const { status, stderr } = await isthmus([verb, "nobody", "--data", data()]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error ISTHMUS_MEMBER_UNKNOWN: nobody is not a member of this fleet/);
  });

  it("writes a token file that only its owner may read", async () => {
    const out = join(folder, "north.token");
    writeFileSync(out, "old", { mode: 0o644 });
    expect(await isthmus(["token", "create", "north", "--data", data(), "--out", out])).toMatchObject({ status: 0 });
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect(parseJoinToken(readFileSync(out, "utf8")).ok).toBe(true);
  });

  it.each([
    { args: ["status"], says: /fleet acme\.mesh .* redis connected\n\nno cluster has joined yet/ },
    { args: ["clusters"], says: /no cluster has joined yet/ },
    { args: ["services"], says: /no service is exported yet/ },
  ])("$args says what there is and what to do next", async ({ args, says }) => {
    const { status, stdout, stderr } = await isthmus([...args, "--data", data()]);
    expect(status).toBe(0);
    expect(stdout).toMatch(says);
    expect(stderr).toMatch(/^next: /m);
    const json = await isthmus([...args, "--data", data(), "-o", "json"]);
    expect(JSON.parse(json.stdout)).toBeTypeOf("object");
    expect(json.stderr).toBe("");
  });

  it("refuses a second hub on the same data folder", async () => {
    const { status, stderr } = await isthmus(["hub", "--data", data(), "--listen", "127.0.0.1:0"]);
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^error ISTHMUS_HUB_RUNNING: /) as string,
    });
  });

  it.each([
    { why: "a name that is no label", args: ["token", "create", "East_1"], code: "ISTHMUS_CLUSTER_NAME" },
    { why: "a reserved name", args: ["token", "create", "hub"], code: "ISTHMUS_CLUSTER_NAME" },
    { why: "a lifetime of a week", args: ["token", "create", "east", "--ttl", "7d"], code: "ISTHMUS_TOKEN_TTL" },
    { why: "a lifetime that is none", args: ["token", "create", "east", "--ttl", "soon"], code: "ISTHMUS_DURATION" },
  ])("refuses $why in one line", async ({ args, code }) => {
    const { status, stderr, stdout } = await isthmus([...args, "--data", data()]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(new RegExp(`^error ${code}: .+; .+`));
  });
});

describe("what goes wrong", () => {
  it.each([
    { why: "no fleet domain", args: ["init"], code: "ISTHMUS_FLEET_DOMAIN" },
    { why: "a fleet domain of one label", args: ["init", "acme", "--data", "FOLDER/x"], code: "ISTHMUS_FLEET_DOMAIN" },
    {
      why: "an address without a port",
      args: ["init", "acme.mesh", "--data", "FOLDER/x", "--advertise", "hub"],
      code: "ISTHMUS_ADDRESS",
    },
    { why: "a folder with other files", args: ["init", "acme.mesh", "--data", "FOLDER/full"], code: "ISTHMUS_DATA" },
    { why: "a hub without a data folder", args: ["hub", "--data", "FOLDER/none"], code: "ISTHMUS_DATA" },
    { why: "a data folder that is none", args: ["hub", "--data", "FOLDER/full"], code: "ISTHMUS_DATA" },
    { why: "a hub that does not run", args: ["status", "--data", "FOLDER/full"], code: "ISTHMUS_HUB_NOT_RUNNING" },
    {
      why: "a plaintext Redis",
      args: ["hub", "--data", "FOLDER/full", "--redis", "redis://r"],
      code: "ISTHMUS_REDIS_PLAINTEXT",
    },
    {
      why: "no token file",
      args: ["join", "--token-file", "FOLDER/none", "--context", "c"],
      code: "ISTHMUS_TOKEN_FILE",
    },
    {
      why: "another file as token",
      args: ["join", "--token-file", "FOLDER/full/file", "--context", "c"],
      code: "ISTHMUS_TOKEN_MALFORMED",
    },
    { why: "a workload without a program", args: ["run", "--service", "cart"], code: "ISTHMUS_USAGE" },
    { why: "a workload without an account", args: ["run", "--service", "cart", "--", "true"], code: "ISTHMUS_USAGE" },
    {
      why: "a workload of no site",
      args: ["run", "--service", "cart", "--account", "cart", "--data", "FOLDER/none", "--", "true"],
      code: "ISTHMUS_SITE_DATA",
    },
    {
      why: "a site without manifests",
      args: ["site", "--data", "FOLDER/site", "--manifests", "FOLDER/none", "--gateway", "127.0.1.1:15443"],
      code: "ISTHMUS_MANIFESTS",
    },
    {
      why: "a gateway that is no address",
      args: ["site", "--data", "FOLDER/site", "--manifests", "FOLDER/full", "--gateway", "gateway"],
      code: "ISTHMUS_ADDRESS",
    },
    { why: "nobody who leaves", args: ["leave"], code: "ISTHMUS_USAGE" },
    { why: "two who leave", args: ["leave", "east", "--site", "FOLDER/none"], code: "ISTHMUS_USAGE" },
    { why: "a site that never joined", args: ["leave", "--site", "FOLDER/none"], code: "ISTHMUS_NOT_JOINED" },
    { why: "a pod that is none of an agent", args: ["leave", "--in-pod"], code: "ISTHMUS_[A-Z_]+" },
    { why: "an unknown command", args: ["frobnicate"], code: "ISTHMUS_USAGE" },
    { why: "an unknown option", args: ["status", "--frobnicate"], code: "ISTHMUS_USAGE" },
    { why: "a missing argument", args: ["token", "create"], code: "ISTHMUS_USAGE" },
    { why: "an output of another form", args: ["status", "-o", "xml"], code: "ISTHMUS_USAGE" },
  ])("$why is one line with a code, and status 1", async ({ args, code }) => {
    mkdirSync(join(folder, "full"), { recursive: true });
    writeFileSync(join(folder, "full", "file"), "hello");
    const { status, stdout, stderr } = await isthmus(args.map((arg) => arg.replace("FOLDER", folder)));
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(new RegExp(`^error ${code}: .+`));
  });

  it("is a document with -o json", async () => {
    const { status, stderr } = await isthmus(["status", "--data", folder, "-o", "json"]);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "ISTHMUS_HUB_NOT_RUNNING" } });
  });

  it("leaves nothing half made: a folder in which init failed can be used by init", async () => {
    const data = join(folder, "twice");
    expect((await isthmus(["init", "acme.mesh", "--data", data, "--advertise", "?"])).status).toBe(1);
    expect((await isthmus(["init", "acme.mesh", "--data", data])).status).toBe(0);
    const again = await isthmus(["init", "acme.mesh", "--data", data]);
    expect(again.stderr).toMatch(/^error ISTHMUS_FLEET_EXISTS/);
  });

  it("prints a fleet as a Secret that unpacks to its data folder", async () => {
    const { status, stdout } = await isthmus(["init", "acme.mesh", "--data", join(folder, "seed"), "-o", "secret"]);
    expect(status).toBe(0);
    const { kind, data } = JSON.parse(stdout) as { kind: string; data: Record<string, string> };
    const tar = Buffer.from(data["data.tar"] ?? "", "base64").toString("latin1");
    expect(kind).toBe("Secret");
    for (const file of ["fleet.json", "hub.json", "pepper", "kek"]) expect(tar).toContain(`./${file}`);
  });
});

describe("a workload's program", () => {
  const run = ["run", "--service", "cart", "--account", "cart", "--port", "8080=9090"];

  it.each([
    { name: "that does not exist has the shell's status", program: "no-such-program", status: 127 },
    { name: "that may not be run has another", program: "FOLDER/text", status: 126 },
  ])("$name", async ({ program, status }) => {
    writeFileSync(join(folder, "text"), "no program");
    const ran = await isthmus([...run, "--data", folder, "--", program.replace("FOLDER", folder)]);
    expect(ran).toMatchObject({ status, stdout: "" });
    expect(ran.stderr).toMatch(/^error ISTHMUS_APPLICATION: /);
  });

  it("runs under systemd by a unit that names everything absolutely", async () => {
    const ran = await isthmus([...run, "--data", folder, "--print-systemd", "--", "env", "A=b c"]);
    expect(ran.status).toBe(0);
    const start = /^ExecStart=(.*)$/m.exec(ran.stdout)?.[1] ?? "";
    expect(start).toContain(
      `isthmus.js run --service cart --account cart --namespace default --name cart --port 8080=9090`,
    );
    expect(start).toMatch(/ --data \/\S+ -- \/\S+\/env "A=b c"$/);
  });

  it("that is redirected is started by root, for the user that it names, with control groups of its own", async () => {
    const wish = ["--redirect", "--user", "cart", "--dns-forward", "--print-systemd"];
    const { stdout } = await isthmus([...run, "--data", folder, ...wish, "--", "env"]);
    expect(stdout).toMatch(/^User=root$/m);
    expect(stdout).toMatch(/^Delegate=yes$/m);
    expect(stdout).toMatch(/^ExecStart=.* --dns-forward --redirect --user cart -- \S+\/env$/m);
  });

  it("has a site that runs under systemd too", async () => {
    const site = ["site", "--data", folder, "--manifests", folder, "--gateway", "127.0.1.1:15443", "--print-systemd"];
    const ran = await isthmus([...site, "--token-file", join(folder, "token"), "--permissive", "--no-egress"]);
    const start = /^ExecStart=(.*)$/m.exec(ran.stdout)?.[1] ?? "";
    const files = `--data ${folder} --manifests ${folder} --token-file ${folder}/token`;
    expect(start).toContain(
      `isthmus.js site ${files} --gateway 127.0.1.1:15443 --log-level info --permissive --no-egress`,
    );
  });
});

describe("the entry", () => {
  it("runs the program on the Node that it finds, and passes its exit status on", async () => {
    const { status, stdout } = await isthmusProcess(["version", "-o", "json"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ node: expect.stringMatching(/^2[4-9]\./) as string });
    expect(await isthmusProcess(["frobnicate"])).toMatchObject({ status: 1, stdout: "" });
  });
});

describe("help and version", () => {
  it.each([["help"], ["help", "join"], ["token", "--help"], ["version"]])("%j is no error", async (...args) => {
    const { status, stdout, stderr } = await isthmus(args);
    expect(status).toBe(0);
    expect(stdout.length).toBeGreaterThan(10);
    expect(stderr).not.toContain("error");
  });
});
