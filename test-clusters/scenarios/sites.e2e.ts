// What only a site can do wrong: its manifests, its credential folders, its processes. Each row says what a person is told
// and that nobody else notices.
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { credentialFile, workloadFolder } from "../../agent/site/credential-folder.ts";
import { runCommand } from "../machine/command.ts";
import { programOf, signalAll } from "../sites/process-table.ts";
import type { SiteFleet } from "../sites/site-fleet.ts";
import { importUrl, untilStatus } from "../stage/asking.ts";
import type { Manifest, Scene } from "../stage/fleet-under-test.ts";
import { asSites, openRunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import { httpRouteGroup, serviceExport, trafficTarget, workload } from "../stage/workload.ts";
import type { Caller } from "../traffic/caller.ts";

const namespace = "e2e-sites";
const url = importUrl("server", namespace);
let fleet: SiteFleet;
let scene: Scene;
let client: Caller;
let folder: string;

/** `server` with two replicas in west, and `client` in east. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-e2e-rows-"));
  fleet = asSites(await openRunnersFleet());
  scene = await fleet.openScene(namespace, ["east", "west"]);
  await scene.apply("west", serving("west"));
  await scene.apply("east", workload({ namespace, name: "client", image: scene.image }));
  await Promise.all(["east", "west"].map((member) => scene.ready(member)));
  client = await scene.caller("east", "client");
  await untilStatus(client, url, 200);
});

function serving(member: "west" | "north"): readonly Manifest[] {
  const rule = { kind: "HTTPRouteGroup", name: "server" } as const;
  return [
    ...workload({ namespace, name: "server", image: scene.image, replicas: member === "west" ? 2 : 1 }),
    serviceExport(namespace, "server"),
    httpRouteGroup(namespace, "server", [{ name: "all" }]),
    trafficTarget({ namespace, name: "server", to: "server", from: ["client"], sourceClusters: "east", rule }),
  ];
}

afterAll(async () => {
  await scene.close();
  await rm(folder, { recursive: true, force: true });
});

async function problemsOf(member: string): Promise<string> {
  return JSON.stringify(await fleet.site(member).debug("problems"));
}

function told(member: string, pattern: RegExp): Promise<string> {
  return until(`${member} to say ${pattern.source}`, 20_000, async () => {
    const text = await problemsOf(member);
    return pattern.test(text) && text;
  });
}

function gone(member: string, pattern: RegExp): Promise<unknown> {
  return until(
    `${member} to say no more ${pattern.source}`,
    20_000,
    async () => !pattern.test(await problemsOf(member)),
  );
}

/** Free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const runs = (...more: readonly string[]) => ["run", "--account", "server", "--namespace", namespace, ...more];
const endless = ["--", process.execPath, "-e", "setInterval(() => undefined, 1000)"];

describe("a manifest", () => {
  test("that turns bad is told with file and line, and what it said before stays in force", async () => {
    const file = join(fleet.site("west").manifestsDir, `${namespace}.TrafficTarget.server.json`);
    const good = await readFile(file, "utf8");
    await writeFile(file, good.replace('"sources": [', '"sources": [ }'));
    await told("west", /e2e-sites\.TrafficTarget\.server\.json:\d+/);
    expect((await client.request({ url })).status).toBe(200);
    await writeFile(file, good);
    await gone("west", /e2e-sites\.TrafficTarget\.server\.json/);
    expect((await client.request({ url })).status).toBe(200);
  });

  test("that takes a name which another file has is told where both are, and the first stays in force", async () => {
    const { manifestsDir } = fleet.site("west");
    const file = join(manifestsDir, "zz-second.yaml");
    const second = workload({ namespace, name: "server", image: "any" }).filter(({ kind }) => kind === "Service");
    await writeFile(file, JSON.stringify(second[0]));
    await told("west", /zz-second\.yaml:1.*e2e-sites\.Service\.server\.json:\d+/);
    expect((await client.request({ url })).status).toBe(200);
    await rm(file);
    await gone("west", /zz-second/);
  });

  test("folder that is deleted freezes what was read, which is said, and nothing is lost", async () => {
    const { manifestsDir } = fleet.site("west");
    const copy = `${manifestsDir}.copy`;
    await cp(manifestsDir, copy, { recursive: true });
    await rm(manifestsDir, { recursive: true });
    await told("west", /ISTHMUS_MANIFESTS_FROZEN/);
    expect((await client.load({ url, rps: 20, seconds: 2 })).failed).toBe(0);
    await rename(copy, manifestsDir);
    await gone("west", /ISTHMUS_MANIFESTS_FROZEN/);
    expect((await client.load({ url, rps: 20, seconds: 2 })).failed).toBe(0);
  });
});

describe("the data folder of", () => {
  const gone = async (path: string, isSaid: () => Promise<boolean>, isBack: () => Promise<boolean>) => {
    await rename(path, `${path}.away`);
    try {
      await until(`the loss of ${path} to be said`, 20_000, isSaid);
      expect((await client.load({ url, rps: 20, seconds: 2 })).failed).toBe(0);
    } finally {
      await rename(`${path}.away`, path);
    }
    await until(`${path} to be back`, 20_000, isBack);
    expect((await client.load({ url, rps: 20, seconds: 2 })).failed).toBe(0);
  };

  test("a site that goes away freezes everything, which is said, and nothing is lost", async () => {
    const says = async () => (await problemsOf("west")).includes("ISTHMUS_DATA_GONE");
    // what could not be written meanwhile is tried again within seconds, and said until then
    const everything = /ISTHMUS_DATA_GONE|ISTHMUS_MANIFESTS_FROZEN|ISTHMUS_SITE_STATE/;
    await gone(fleet.site("west").dataDir, says, async () => !everything.test(await problemsOf("west")));
  });

  test("the hub that goes away is said, the fleet lives on, and nothing is lost", async () => {
    const { hubAddress, hubHttpPort } = fleet.run.places;
    const readiness = async () => (await fetch(`http://${hubAddress}:${hubHttpPort}/readyz`)).text();
    const says = async () => (await readiness()).includes("is gone");
    await gone(fleet.hub.dataDir, says, async () => (await readiness()) === "ok\n");
    const { clusters } = JSON.parse(
      await fleet.product.isthmus(["status", "-o", "json", "--data", fleet.hub.dataDir]),
    ) as { readonly clusters: readonly { readonly state: string }[] };
    expect(clusters.filter(({ state }) => state === "connected")).toHaveLength(3);
  });
});

describe("a workload", () => {
  const replica = "server-0";
  const processName = `west.${namespace}.${replica}`;

  const untilReady = (wanted: boolean) =>
    until(`west to say that ${replica} is ${wanted ? "" : "not "}ready`, 20_000, async () => {
      const workloads = await fleet.site("west").workloads();
      return workloads.find(({ name }) => name === replica)?.ready === wanted;
    });

  test("that hangs is not called any more, and no request is lost once that is known", async () => {
    const hung = (await fleet.processes.family(processName)).filter((each) =>
      each.argv.join(" ").includes("shop/main.ts"),
    );
    const application = hung.filter((each) => programOf(each) === "node" && !each.argv.includes("run"));
    expect(application).toHaveLength(1);
    signalAll(application, "SIGSTOP");
    try {
      await untilReady(false);
      await until("only the other replica to answer", 20_000, async () => {
        const answers = await Promise.all(Array.from({ length: 6 }, () => client.request({ url, timeoutMs: 1_000 })));
        return answers.every(({ status, headers }) => status === 200 && headers?.["x-shop-pod"] === "server-1");
      });
      const load = await client.load({ url, rps: 20, seconds: 4 });
      expect(load.failed, JSON.stringify(load.failures)).toBe(0);
    } finally {
      signalAll(application, "SIGCONT");
    }
    await untilReady(true);
  });

  describe("that lies about its health", () => {
    const lie = `require("node:http").createServer((asked, answer) => { answer.writeHead(asked.url === "/healthz" ? 200 : 503); answer.end("a lie"); })`;
    const ask = () => client.request({ url, timeoutMs: 5_000 });

    /** In the place of west's replicas. */
    const start = async () => {
      const port = await freePort();
      const wish = ["--name", "liar", "--service", "server", "--port", `8080=${port}`, "--health", "/healthz"];
      const program = ["--", process.execPath, "-e", `${lie}.listen(${port}, "127.0.0.1")`];
      await scene.stopPods("west", "server");
      await fleet.processes.isthmus("liar", [...runs(...wish, "--data", fleet.site("west").dataDir), ...program]);
      await until("the lie", 30_000, async () => (await ask()).body === "a lie");
    };
    /** Under load from before somebody else was there. */
    const untilLeft = async (member: "west" | "north", others: () => Promise<void>) => {
      const load = client.load({ url, rps: 25, seconds: 120 });
      await others();
      await told("west", /ISTHMUS_WORKLOAD_FAILING.*liar/);
      await until(`only others to answer, of ${member}`, 30_000, async () => {
        const answers = await Promise.all(Array.from({ length: 6 }, ask));
        return answers.every(({ status, headers }) => status === 200 && headers?.["x-shop-cluster"] === member);
      });
      await client.stop();
      const { requests, failed } = await load;
      process.stdout.write(
        `${failed} of ${requests} failed from before anybody else was there until the liar was left\n`,
      );
    };
    afterEach(async () => {
      await fleet.processes.kill("liar");
      await gone("west", /liar/);
      await scene.startPods("west", "server", 2);
      await scene.ready("west");
      await untilStatus(client, url, 200);
    });

    test("is called while it is the only one, and left by other members once another is there", async () => {
      await start();
      await untilLeft("west", async () => {
        await scene.startPods("west", "server", 2);
        await scene.ready("west");
      });
      await scene.stopPods("west", "server");
    });

    test("and is the only one of its member is left for another member", async () => {
      await start();
      await untilLeft("north", async () => {
        await scene.apply("north", serving("north"));
        await scene.ready("north");
      });
      await scene.remove("north", "ServiceExport/server");
      await scene.stopPods("north", "server");
    });
  });

  test("of a name that runs already is refused, with the process that has it", async () => {
    const { dataDir } = fleet.site("west");
    const refusal = await fleet.product.refusal([...runs("--name", replica, "--data", dataDir), ...endless]);
    expect(refusal).toMatch(/ISTHMUS_WORKLOAD_TAKEN.*\d+/);
  });

  test("whose token others may read is refused", async () => {
    const copy = join(folder, "open");
    const from = workloadFolder(fleet.site("west").dataDir, { namespace, name: replica });
    await mkdir(copy, { mode: 0o700 });
    for (const name of Object.values(credentialFile))
      await writeFile(join(copy, name), await readFile(join(from, name)));
    await chmod(join(copy, credentialFile.token), 0o644);
    const refusal = await fleet.product.refusal([...runs("--name", replica, "--credential", copy), ...endless]);
    expect(refusal).toMatch(/ISTHMUS_CREDENTIAL_MODE.*644/);
  });

  test("without an Envoy is refused with what to do", async () => {
    const { dataDir } = fleet.site("west");
    const wish = runs("--name", "no-envoy", "--data", dataDir, "--envoy", join(folder, "no-envoy"));
    expect(await fleet.product.refusal([...wish, ...endless])).toMatch(/ISTHMUS_ENVOY_MISSING/);
  });

  test("that starts while the agent restarts gets its sidecar", async () => {
    const west = fleet.site("west");
    await west.killAgents();
    await scene.stopPods("west", "server");
    const started = scene.startPods("west", "server", 2);
    await west.agentsBack();
    await started;
    await scene.ready("west");
    await untilStatus(client, url, 200);
  });
});

/** What a program says of one call: `STATUS BODY`. */
const oneCall = (options: string) =>
  `require("node:http").get(${JSON.stringify(url)}, ${options}, (answer) => { answer.resume(); console.log(answer.statusCode); })`;

describe("a program that knows no proxy", () => {
  const alone = (name: string, ...more: readonly string[]) =>
    [
      "run",
      "--account",
      name,
      "--namespace",
      namespace,
      "--name",
      `${name}-alone`,
      "--data",
      dataDir(),
      ...more,
    ] as const;
  const dataDir = () => fleet.site("east").dataDir;
  const program = (text: string) => ["--", process.execPath, "-e", text];

  test("calls an import by the name that the DNS beside it answers", async () => {
    const resolver = `const { Resolver } = require("node:dns"); const at = new Resolver(); at.setServers([process.env.ISTHMUS_DNS]);`;
    const lookup = `{ lookup: (host, _options, done) => at.resolve4(host, (error, found) => done(error, found && found.map((address) => ({ address, family: 4 })))) }`;
    expect(await fleet.product.isthmus([...alone("client"), ...program(resolver + oneCall(lookup))])).toBe("200\n");
  });

  describe.skipIf(process.getuid?.() !== 0)("and is redirected by the kernel (root)", () => {
    test("calls an import by its name, with its identity", async () => {
      expect(await fleet.product.isthmus([...alone("client", "--redirect"), ...program(oneCall("{}"))])).toBe("200\n");
      expect(await fleet.product.isthmus([...alone("server", "--redirect"), ...program(oneCall("{}"))])).toBe("403\n");
    });

    test("leaves nothing behind when it is stopped, nor when it is killed and another one runs", async () => {
      const started = async () => {
        await fleet.processes.isthmus("redirected", [...alone("client", "--redirect"), ...endless]);
        const [run] = await fleet.processes.family("redirected");
        const pid = run?.pid ?? 0;
        await until("the redirect", 30_000, async () => (await redirectsOf(pid)).length === 2);
        return pid;
      };
      const stopped = await started();
      process.kill(stopped, "SIGINT");
      await until("its end", 30_000, async () => !(await fleet.processes.isRunning("redirected")));
      expect(await redirectsOf(stopped)).toEqual([]);
      const killed = await started();
      await fleet.processes.killAlone("redirected");
      expect(await redirectsOf(killed)).toHaveLength(2);
      await fleet.product.isthmus([...alone("client", "--redirect"), ...program("")]);
      expect(await redirectsOf(killed)).toEqual([]);
    });
  });
});

/** Table and control group that the process of this number made. */
async function redirectsOf(pid: number): Promise<readonly string[]> {
  const groups = "mount -t cgroup2 none /sys/fs/cgroup && find /sys/fs/cgroup -name 'isthmus_run_*'";
  const said = await runCommand("unshare", ["--mount", "sh", "-c", `nft list tables inet; ${groups}`]);
  return said.split("\n").filter((line) => line.includes(`isthmus_run_`) && line.includes(`_${pid}_`));
}

describe("a site", () => {
  test("whose port is taken says so", async () => {
    const { place, manifestsDir, tokenFile } = fleet.site("east");
    const options = ["--data", join(folder, "second"), "--manifests", manifestsDir, "--token-file", tokenFile];
    const at = ["--address", place.address, "--gateway", `${place.address}:${place.gatewayPort}`];
    expect(await fleet.product.refusal(["site", ...options, ...at])).toMatch(/ISTHMUS_\w+: .*\b150?14|in use|taken/);
  });

  test("refuses a token that is cut off", async () => {
    const tokenFile = join(folder, "south.token");
    await fleet.product.isthmus(["token", "create", "south", "--data", fleet.hub.dataDir, "--out", tokenFile]);
    await writeFile(tokenFile, (await readFile(tokenFile, "utf8")).slice(0, 40));
    const { address } = fleet.site("east").place;
    const options = ["--data", join(folder, "south"), "--manifests", folder, "--token-file", tokenFile];
    const at = ["--address", address, "--ads-port", "15228", "--admin-port", "15114", "--gateway", `${address}:15543`];
    expect(await fleet.product.refusal(["site", ...options, ...at])).toMatch(/error ISTHMUS_TOKEN_MALFORMED/);
  });
});
