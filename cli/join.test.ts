// `isthmus join` against programs named kubectl and helm that answer as a cluster in a given state does: what the command
// asks, in which order, and what it tells. The real ones are met by the end-to-end suites.
import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterName } from "../shared/ids.ts";
import { formatJoinToken } from "../shared/join-token.ts";
import { fieldMark } from "./pod-state.ts";
import { isthmus, type Ran } from "./testing/cli.ts";

vi.setConfig({ testTimeout: 180_000 });

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-join-")));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const token = (expiresAtMs = Date.now() + 60_000) =>
  formatJoinToken({
    id: "0123456789abcdef",
    secret: Buffer.alloc(32, 5),
    cluster: "east" as ClusterName,
    hub: "hub.acme.example:8443",
    pin: `sha256/${"A".repeat(43)}`,
    expiresAtMs,
  });

/** Bodies of shell `case` branches by a pattern of the arguments; whatever is not named succeeds silently. */
interface FakeCluster {
  readonly pods?: readonly string[];
  readonly joinedAs?: string;
  readonly logs?: string;
  readonly helm?: string;
  readonly reachable?: boolean;
  /** What `kubectl create` of the CRDs says; empty: it makes them. */
  readonly crds?: string;
  /** CRDs that an earlier join made. */
  readonly ownCrds?: readonly string[];
}

function fakePrograms(cluster: FakeCluster): void {
  const { pods = [], joinedAs, logs = "", helm = "exit 0", reachable = true, crds = "", ownCrds = [] } = cluster;
  writeFileSync(join(folder, "pods"), pods.map((line) => `${line}\n`).join(""));
  writeFileSync(join(folder, "logs"), logs);
  const away = "echo 'Unable to connect to the server: dial tcp: i/o timeout' >&2; exit 1";
  const secret = reachable ? `printf %s ${Buffer.from(joinedAs ?? "").toString("base64")}` : away;
  program("kubectl", [
    "*get-contexts*) echo east; echo west;;",
    `*"context nowhere"*) echo 'error: context "nowhere" does not exist' >&2; exit 1;;`,
    `*"get --raw"*) ${reachable ? "echo ok" : away};;`,
    `*"get secret"*) ${secret};;`,
    `create*crds*) ${crds === "" ? "exit 0" : `echo '${crds}' >&2; exit 1`};;`,
    `*"get customresourcedefinitions"*) ${ownCrds.map((name) => `echo crd/${name}`).join("; ")};;`,
    `*"--field-manager isthmus-join --filename /"*) ;;`,
    `*apply*) cat > ${folder}/applied;;`,
    `*"get pods"*) cat ${folder}/pods; exec sleep 60;;`,
    `*logs*) cat ${folder}/logs;;`,
  ]);
  program("helm", ["version*) echo v3.22.0;;", `upgrade*) ${helm};;`]);
}

function program(name: string, branches: readonly string[]): void {
  const log = `printf '%s\\n' "${name} $*" >> ${folder}/calls`;
  writeFileSync(join(folder, name), `#!/bin/sh\n${log}\ncase "$*" in\n${branches.join("\n")}\nesac\n`);
  chmodSync(join(folder, name), 0o755);
}

/** Far longer than programs need to start; a command that waits for it ends by what it was told, not by the clock. */
const PATIENT = "120s";
/** For what is only said when the time is up. Programs must have started by then, on a busy machine too. */
const HASTY = "6s";

async function joinEast(
  tokenText = token(),
  more: readonly string[] = [],
  timeout = PATIENT,
): Promise<Ran & { readonly calls: string }> {
  writeFileSync(join(folder, "east.token"), `${tokenText}\n`);
  const args = ["join", "--token-file", join(folder, "east.token"), "--context", "east", "--timeout", timeout, ...more];
  vi.stubEnv("PATH", `${folder}:/usr/bin:/bin`);
  const ran = await isthmus(args);
  let calls = "";
  try {
    calls = readFileSync(join(folder, "calls"), "utf8");
  } catch {
    // it was refused before anything was called
  }
  return { ...ran, calls };
}

interface PodFields {
  readonly part?: string;
  readonly ready?: boolean;
  readonly scheduled?: string;
  readonly waiting?: { readonly reason: string; readonly message: string };
}

function podLine({ part = "isthmus-agent", ready = false, scheduled, waiting }: PodFields): string {
  const conditions = [
    { type: "Ready", status: ready ? "True" : "False" },
    { type: "PodScheduled", status: scheduled === undefined ? "True" : "False", message: scheduled ?? "" },
  ];
  const status = [
    {
      name: "main",
      image: "isthmus.dev/isthmus:0.1.0",
      restartCount: 0,
      state: waiting === undefined ? {} : { waiting },
    },
  ];
  return [
    `${part}-0`,
    part,
    "",
    ready ? "Running" : "Pending",
    JSON.stringify(conditions),
    "",
    JSON.stringify(status),
  ].join(fieldMark);
}

describe("a join", () => {
  it("checks, hands over the token out of sight, installs the chart, and ends when agent and gateway are ready", async () => {
    const gateway = podLine({ part: "isthmus-gateway", ready: true });
    fakePrograms({ pods: [podLine({}), gateway, podLine({ ready: true })] });
    const { status, stdout, stderr, calls } = await joinEast(token(), [
      "--image-registry",
      "reg.example/mesh",
      "--set",
      "a=b",
    ]);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stdout).toContain("east takes part in the fleet");
    expect(stderr).toContain("isthmus-agent 0/1 ready, isthmus-gateway 1/1 ready");
    expect(stderr).toContain("next: kubectl --context east label namespace NAME isthmus.dev/inject=enabled");
    expect(calls).toMatch(
      /apply --context east --server-side[^]*helm upgrade --install isthmus-agent .*charts\/agent /,
    );
    expect(calls).toContain("--set-string image.registry=reg.example/mesh --set a=b");
    expect(calls).not.toContain("isthmus1.");
    expect(readFileSync(join(folder, "applied"), "utf8")).toContain("isthmus1.");
  });

  it.each<{ name: string; cluster: FakeCluster; code: string; says: RegExp; timeout?: string }>([
    {
      name: "images that cannot be pulled",
      cluster: { pods: [podLine({ waiting: { reason: "ImagePullBackOff", message: "not found" } })] },
      code: "ISTHMUS_JOIN_POD",
      says: /isthmus\.dev\/isthmus:0\.1\.0.*not found.*--image-registry/,
    },
    {
      name: "an agent that says why it ended",
      cluster: {
        pods: [podLine({ waiting: { reason: "CrashLoopBackOff", message: "back-off" } })],
        logs: 'plain text\n{"level":"error","message":"the hub shows another key","code":"ISTHMUS_HUB_PIN","hint":"make a new token"}\n',
      },
      code: "ISTHMUS_HUB_PIN",
      says: /another key.*make a new token/,
    },
    {
      name: "an agent that waits for the hub",
      timeout: HASTY,
      cluster: {
        pods: [podLine({})],
        logs: "error ISTHMUS_HUB_UNREACHABLE: no hub answers at hub.acme.example:8443\n",
      },
      code: "ISTHMUS_HUB_UNREACHABLE",
      says: /no hub answers/,
    },
    {
      name: "no node with room",
      timeout: HASTY,
      cluster: { pods: [podLine({ scheduled: "0/1 nodes are available: insufficient memory" })] },
      code: "ISTHMUS_JOIN_TIMEOUT",
      says: /insufficient memory/,
    },
    {
      name: "no pods at all",
      timeout: HASTY,
      cluster: {},
      code: "ISTHMUS_JOIN_TIMEOUT",
      says: /no pod of the agent was made/,
    },
    {
      name: "CRDs that may not be made",
      cluster: { crds: "Error from server (Forbidden): customresourcedefinitions is forbidden" },
      code: "ISTHMUS_PROGRAM_FAILED",
      says: /customresourcedefinitions is forbidden/,
    },
    {
      name: "a chart that helm refuses",
      cluster: { helm: "echo 'Error: values do not meet the schema' >&2; exit 1" },
      code: "ISTHMUS_PROGRAM_FAILED",
      says: /values do not meet the schema/,
    },
  ])("that meets $name says so in one line", async ({ cluster, code, says, timeout }) => {
    fakePrograms(cluster);
    const { status, stderr } = await joinEast(undefined, [], timeout);
    expect(status).toBe(1);
    const last = stderr.trim().split("\n").at(-1) ?? "";
    expect(last).toMatch(new RegExp(`^error ${code}: `));
    expect(last).toMatch(says);
  });

  it.each<{ name: string; cluster: FakeCluster; tokenText?: string; args?: readonly string[]; code: string }>([
    { name: "an expired token", cluster: {}, tokenText: token(Date.now() - 1_000), code: "ISTHMUS_TOKEN_EXPIRED" },
    { name: "a cut token", cluster: {}, tokenText: token().slice(0, -9), code: "ISTHMUS_TOKEN_MALFORMED" },
    { name: "an unknown context", cluster: {}, args: ["--context", "nowhere"], code: "ISTHMUS_CONTEXT" },
    { name: "an API server that is away", cluster: { reachable: false }, code: "ISTHMUS_CLUSTER_UNREACHABLE" },
    { name: "another cluster's token", cluster: { joinedAs: "west" }, code: "ISTHMUS_TOKEN_WRONG_CLUSTER" },
  ])("with $name changes nothing", async ({ cluster, tokenText, args, code }) => {
    fakePrograms(cluster);
    const { status, stderr, calls } = await joinEast(tokenText, args);
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`^error ${code}: `, "m"));
    expect(calls).not.toMatch(/apply|create|upgrade/);
  });

  it("of a cluster that is a member already brings its agent up to date", async () => {
    const pods = [podLine({ ready: true }), podLine({ part: "isthmus-gateway", ready: true })];
    const crds = "Error from server (AlreadyExists): serviceexports already exists";
    fakePrograms({ pods, joinedAs: "east", crds, ownCrds: ["trafficsplits.split.smi-spec.io"] });
    const { status, stderr, calls } = await joinEast();
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toContain("is a member already");
    const updates = calls.split("\n").filter((line) => line.includes("--filename /") && line.includes(" apply "));
    expect(updates).toHaveLength(1);
    expect(updates[0]).toMatch(
      /--force-conflicts .*isthmus-join --filename \S*split\.smi-spec\.io_trafficsplits\.yaml$/,
    );
    expect(stderr).toContain("serviceexports.multicluster.x-k8s.io was made by somebody else and stays as it is");
  });

  it("without helm on PATH names it", async () => {
    fakePrograms({});
    rmSync(join(folder, "helm"));
    const { stderr } = await joinEast();
    expect(stderr).toMatch(/^error ISTHMUS_PROGRAM_MISSING: helm cannot be run; .*install Helm 3/m);
  });
});
