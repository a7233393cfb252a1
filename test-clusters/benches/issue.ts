// Bench `issue`: a request's proof of possession checked and a leaf signed for it, per second of CPU time, as the product does
// it in its signing pool; against what `openssl speed` says a core can do at most of one verification and one signature, in the
// same minute. CPU time on both sides (openssl counts it so too): what else this machine does changes neither. Every figure
// counts all threads of this process: reading, checking, messages between threads and garbage collection.
import { execFile } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openAuthority } from "../../hub/ca/authority.ts";
import { beginFleet } from "../../hub/ca/new-fleet.ts";
import { systemClock } from "../../shared/clock.ts";
import type { ClusterName, FleetDomain, TrustDomain } from "../../shared/ids.ts";
import { issueCertificate } from "../../shared/pki/issue.ts";
import { generateKeyPem, keyProviderFromPem, type KeyProvider } from "../../shared/pki/key.ts";
import { createLeafIssuer, type LeafIssuer } from "../../shared/pki/leaf-issuer.ts";
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { createSigningPool, type SigningPool } from "../../shared/pki/signing-pool.ts";
import {
  clusterCaTemplate,
  rootTemplate,
  validityFrom,
  workloadTemplate,
  type CertificateTemplate,
} from "../../shared/pki/template.ts";
import { buildRequest, type Issuer } from "../../shared/pki/x509-builder.ts";
import { parseCertificate, parseRequest } from "../../shared/pki/x509.ts";
import type { Result } from "../../shared/result.ts";
import { atMost, type Bar, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import { quantile, rounded } from "./quantile.ts";

const RATIO_BAR = 0.35;
const LOOP_BAR_MS = 10;
const ROUNDS = 5;
const LEAVES = 4000;
const REQUESTS = 1000;
/** As many callers as wait at a time: proxies that ask after an agent's restart. */
const CALLERS = 256;
const JOINS = 500;
const SLOW_LEAVES = 200;
const OPENSSL_SECONDS = 2;

const hourMs = 3_600_000;
const fleet = "acme.mesh" as FleetDomain;
const trustDomain = "east.acme.mesh" as TrustDomain;

export const issue: Bench = {
  name: "issue",
  about: "requests checked and leaves signed per second and core, against openssl's verify + sign",
  bar: `ratio at least ${RATIO_BAR}, event-loop delay p99 at most ${LOOP_BAR_MS} ms`,
  minutes: 1,
  needsRoot: false,
  run: measure,
};

async function measure({ progress, signal }: BenchContext): Promise<BenchResult> {
  const pool = createSigningPool();
  try {
    const ca = await makeClusterCa();
    const requests = await progress.step(`${REQUESTS} requests`, () =>
      Promise.all(Array.from({ length: REQUESTS }, () => buildRequest(generateKeyPem()))),
    );
    const work: Work = { pool, requests, leaves: leafIssuer(ca) };
    await progress.step("warming up", () => storm(LEAVES, requestAndLeaf(work)));
    const rounds: Round[] = [];
    for (let at = 1; at <= ROUNDS; at += 1) {
      signal.throwIfAborted();
      rounds.push(await progress.step(`round ${at} of ${ROUNDS}`, () => round(work)));
    }
    const svids = await progress.step("leaves with keys of their own", () => storm(LEAVES, leafWithKey(work)));
    const joins = await progress.step("joins at the hub", () => hubJoins(pool, requests));
    const slow = await progress.step("the same by @peculiar/x509", () => slowLeaves(ca, requests));
    return result({ rounds, svids, joins, slowPerSecond: slow });
  } finally {
    await pool.close();
  }
}

interface Work {
  readonly pool: SigningPool;
  readonly requests: readonly Uint8Array[];
  readonly leaves: LeafIssuer;
}

interface Storm {
  readonly perCpuSecond: number;
  readonly perSecond: number;
  readonly loopDelayMs: number;
}

interface Round extends Storm {
  readonly bound: number;
}

/** The limit before and after: the larger one counts. */
async function round(work: Work): Promise<Round> {
  const before = await opensslBound();
  const done = await storm(LEAVES, requestAndLeaf(work));
  return { ...done, bound: Math.max(before, await opensslBound()) };
}

/** One core that does nothing but verify and sign. */
async function opensslBound(): Promise<number> {
  const args = ["speed", "-seconds", String(OPENSSL_SECONDS), "ecdsap256"];
  const { stdout } = await promisify(execFile)("openssl", args);
  const found = /nistp256\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)\s*$/m.exec(stdout);
  if (found === null) throw new Error(`openssl speed said something else: ${stdout}`);
  return 1 / (1 / Number(found[1]) + 1 / Number(found[2]));
}

async function storm(count: number, work: (at: number) => Promise<void>): Promise<Storm> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let next = 0;
  const caller = async () => {
    while (next < count) await work(next++);
  };
  delay.enable();
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()];
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startedMs) / 1000;
  delay.disable();
  return {
    perCpuSecond: count / ((user + system) / 1e6),
    perSecond: count / seconds,
    loopDelayMs: delay.percentile(99) / 1e6,
  };
}

function requestAndLeaf({ pool, requests, leaves }: Work): (at: number) => Promise<void> {
  return async (at) => {
    const request = await pool.checkRequest(requests[at % requests.length] ?? new Uint8Array());
    if (request?.signatureValid !== true) throw new Error("a good request was refused");
    valueOf(await leaves.issue(templateOf(at), request.publicKey.spkiDer, pool));
  };
}

function leafWithKey({ pool, leaves }: Work): (at: number) => Promise<void> {
  return async (at) => {
    valueOf(await leaves.issueWithKey(templateOf(at), pool));
  };
}

/** What the hub does for each join, by its own authority: both requests read, an agent's certificate and a cluster CA signed. */
async function hubJoins(pool: SigningPool, requests: readonly Uint8Array[]): Promise<Storm> {
  const dataDir = await mkdtemp(join(tmpdir(), "isthmus-bench-"));
  try {
    const serverNames = { dnsNames: ["localhost"], ipAddresses: [] };
    await beginFleet(dataDir, { fleetDomain: fleet, serverNames, clock: systemClock });
    const hub = await openAuthority(dataDir, systemClock, { pool });
    return await storm(JOINS, async (at) => {
      const csrDer = requests[at % requests.length] ?? new Uint8Array();
      const cluster = `cluster-${at}` as ClusterName;
      valueOf(await hub.readRequest(csrDer));
      valueOf(await hub.readRequest(csrDer));
      valueOf(await hub.issueAgent(cluster, csrDer));
      valueOf(await hub.issueClusterCa(cluster, csrDer));
    });
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function slowLeaves({ key, facts }: Ca, requests: readonly Uint8Array[]): Promise<number> {
  const cpu = process.cpuUsage();
  for (const [at, csrDer] of requests.slice(0, SLOW_LEAVES).entries()) {
    const request = valueOf(await parseRequest(csrDer));
    valueOf(await issueCertificate(templateOf(at), request.publicKey.spkiDer, { key, certificate: facts }));
  }
  const { user, system } = process.cpuUsage(cpu);
  return SLOW_LEAVES / ((user + system) / 1e6);
}

function templateOf(at: number): CertificateTemplate {
  const name = { trustDomain, namespace: `team-${at % 50}`, serviceAccount: `account-${at}` };
  return workloadTemplate(name, valueOf(validityFrom(Date.now(), hourMs, Infinity)));
}

interface Ca {
  readonly key: KeyProvider;
  readonly facts: CertificateFacts;
}

async function makeClusterCa(): Promise<Ca> {
  const validity = valueOf(validityFrom(Date.now(), 24 * hourMs, Infinity));
  const root = await makeCa(rootTemplate(fleet, "bench", validity), undefined);
  return makeCa(clusterCaTemplate("east" as ClusterName, fleet, validity), { key: root.key, certificate: root.facts });
}

async function makeCa(template: CertificateTemplate, issuer: Issuer | undefined): Promise<Ca> {
  const key = keyProviderFromPem(generateKeyPem());
  const der = valueOf(await issueCertificate(template, key.spkiDer, issuer ?? { key, certificate: undefined }));
  return { key, facts: valueOf(parseCertificate(der)) };
}

function leafIssuer({ key, facts }: Ca): LeafIssuer {
  return valueOf(createLeafIssuer({ kind: "workload", key, issuer: facts }));
}

function valueOf<T>(made: Result<T>): T {
  if (made.ok) return made.value;
  throw new Error(made.error.map(({ code, message }) => `${code} ${message}`).join("; "));
}

interface Measured {
  readonly rounds: readonly Round[];
  readonly svids: Storm;
  readonly joins: Storm;
  readonly slowPerSecond: number;
}

/** The round in the middle: one whose neighbours on this machine were neither the kindest nor the worst. */
function result({ rounds, svids, joins, slowPerSecond }: Measured): BenchResult {
  const ratios = rounds.map(({ perCpuSecond, bound }) => perCpuSecond / bound);
  const ratio = quantile(ratios, 0.5);
  const middle = rounds[ratios.indexOf(ratio)];
  if (middle === undefined) throw new Error("no round was measured");
  const loopDelayMs = Math.max(joins.loopDelayMs, ...rounds.map((one) => one.loopDelayMs));
  const figures = {
    per_s: Math.round(middle.perCpuSecond),
    openssl_bound_per_s: Math.round(middle.bound),
    ratio: rounded(ratio, 3),
    loop_delay_p99_ms: rounded(loopDelayMs, 2),
    ratios: ratios.map((value) => rounded(value, 3)),
    wall_per_s: Math.round(middle.perSecond),
    leaf_with_key_per_s: Math.round(svids.perCpuSecond),
    hub_joins_per_s: Math.round(joins.perCpuSecond),
    hub_joins_loop_delay_p99_ms: rounded(joins.loopDelayMs, 2),
    peculiar_per_s: Math.round(slowPerSecond),
  };
  const held: Bar = {
    text: `request checked and leaf signed ${figures.ratio} of openssl's limit, bar ${RATIO_BAR} (${figures.per_s} of ${figures.openssl_bound_per_s} per second and core)`,
    held: figures.ratio >= RATIO_BAR,
  };
  return {
    figures,
    bars: [held, atMost("event-loop delay p99, worst round,", figures.loop_delay_p99_ms, LOOP_BAR_MS, "ms")],
  };
}
