// A workload that root starts for another user: nothing of it runs as root, whether the kernel redirects it or not. Needs root.
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { alone, ownGround } from "../../shared/testing/ground.ts";
import { findEnvoy, skipReason } from "../../agent/xds/testing/envoy.ts";
import { parseRunOptions } from "./options.ts";
import { parsePasswd } from "./run-as.ts";
import { runWorkload, type Running } from "./running.ts";
import { factsOf, staticProxy, writeCredential } from "./testing/stand-in.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const found = findEnvoy();
const root = process.getuid?.() === 0;
const reason = skipReason(root ? undefined : "not root: only root can start a program for another user");
const nobody = parsePasswd(
  readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((line) => line.startsWith("nobody:")) ?? "",
);
const ground = await ownGround();
const sockets = {
  inbound: await ground.port(),
  application: await ground.port(),
  httpProxy: await ground.port(),
};
const block = `${ground.net}.16.0`;

let dir = "";
let credential = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ist-as-"));
  chmodSync(dir, 0o755);
  credential = join(dir, "credential");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** As the site's agent makes it for `spec.user`. */
function credentialOfNobody(): void {
  const facts = factsOf("cart", sockets);
  const redirect = { address: "127.0.0.1", port: sockets.httpProxy, range: `${ground.net}.0.0/16` };
  const loopback = { rangeStart: `${ground.net}.0.0`, blockStart: block };
  writeCredential(credential, {
    ...facts,
    ...(facts.sidecar && { sidecar: { ...facts.sidecar, loopback, redirect } }),
  });
  for (const path of [credential, ...readdirSync(credential).map((name) => join(credential, name))])
    chownSync(path, nobody?.uid ?? 0, nobody?.gid ?? 0);
}

function envoyForAll(): string {
  const copy = join(dir, "envoy");
  copyFileSync("path" in found ? found.path : "", copy);
  chmodSync(copy, 0o755);
  return copy;
}

/** What stands in /proc of the sidecar while the program runs, and what the program found of itself. */
async function runAsNobody(
  envoy: string,
  redirect: boolean,
): Promise<{ readonly sidecar: string; readonly program: string }> {
  const note = join(dir, "note");
  writeFileSync(note, "");
  chownSync(note, nobody?.uid ?? 0, nobody?.gid ?? 0);
  const given = { namespace: "shop", service: "cart", account: "cart", port: [], data: dir, output: "text" } as const;
  const script = `{ id -u; id -G; echo $HOME $USER; grep CapEff /proc/self/status; } > ${note}; sleep 1000`;
  const config = parseRunOptions({ ...given, credential, redirect, user: "nobody" }, ["sh", "-c", script]);
  const stop = new AbortController();
  const ready = Promise.withResolvers<Running>();
  const deps = {
    ...{ clock: systemClock, env: process.env, findEnvoy: () => Promise.resolve(envoy), say: () => undefined },
    makeProxy: staticProxy(sockets),
    onReady: (running: Running) => ready.resolve(running),
  };
  const status = runWorkload(config, deps, { stop: stop.signal, kill: new AbortController().signal });
  status.catch((error: unknown) => ready.reject(error));
  const { sidecarPid } = await ready.promise;
  const sidecar = readFileSync(`/proc/${sidecarPid ?? 0}/status`, "utf8");
  await vi.waitFor(() => expect(readFileSync(note, "utf8")).toContain("CapEff"), 30_000);
  stop.abort("SIGTERM");
  expect(await status).toBe(143);
  return { sidecar, program: readFileSync(note, "utf8") };
}

describe.skipIf(reason !== undefined || "missing" in found || nobody === undefined)(
  "a workload of another user",
  () => {
    it.each([
      { how: "told of its sidecar", redirect: false },
      { how: "redirected into it", redirect: true },
    ])(
      "runs as that user when it is $how, and so does its sidecar, which may take low ports and nothing more",
      async ({ redirect }) => {
        credentialOfNobody();
        const play = async () => void (seen = await runAsNobody(envoyForAll(), redirect));
        let seen = { sidecar: "", program: "" };
        // a run that redirects takes away what killed runs have left, one of another test too
        await (redirect ? alone(play) : play());
        const { sidecar, program } = seen;
        const { uid = 0, home = "" } = nobody ?? {};
        expect(program).toMatch(new RegExp(`^${uid}\\n[\\d ]+\\n${home} nobody\\nCapEff:\\s+0+\\n$`));
        expect(sidecar).toMatch(new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s`, "m"));
        expect(sidecar).toMatch(/^CapEff:\s+0*400$/m);
      },
    );

    it("is refused with an Envoy that the user may not start", async () => {
      credentialOfNobody();
      const closed = join(dir, "closed-envoy");
      writeFileSync(closed, "", { mode: 0o700 });
      expect(statSync(closed).uid).toBe(0);
      await expect(runAsNobody(closed, false)).rejects.toMatchObject({ code: "ISTHMUS_USER_FILE" });
    });

    it("is refused when the machine has no such user", async () => {
      const given = {
        namespace: "shop",
        service: "cart",
        account: "cart",
        port: [],
        data: dir,
        output: "text",
      } as const;
      const config = parseRunOptions({ ...given, user: "no-such-user" }, ["true"]);
      const { signal } = new AbortController();
      const deps = { clock: systemClock, env: process.env, say: () => undefined, onReady: () => undefined };
      const asked = { ...deps, findEnvoy: () => Promise.resolve(""), makeProxy: staticProxy(sockets) };
      await expect(runWorkload(config, asked, { stop: signal, kill: signal })).rejects.toMatchObject({
        code: "ISTHMUS_WORKLOAD_USER",
      });
    });
  },
);

it.each([
  [
    "cart:x:990:991:a cart:/srv/cart:/bin/sh\n",
    { name: "cart", uid: 990, gid: 991, home: "/srv/cart", shell: "/bin/sh" },
  ],
  ["", undefined],
])("passwd's %j is %j", (line, user) => {
  expect(parsePasswd(line)).toEqual(user);
});
