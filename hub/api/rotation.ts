// Drives the rotation of the root: keeps what members have shown, asks the gate of the step, and takes the next step when it is
// open. Every step is audited, then written to fleet.json in one piece with the bundle that states it, then told. Killed at any
// point, it goes on from what is written. Holds no rule: those are in hub/rotation.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { StatusReport } from "../../shared/grpc/fleet-messages.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import type { FleetFile, RootKind } from "../ca/fleet-file.ts";
import { fingerprintOf } from "../ca/root.ts";
import type { MemberEvidence } from "../rotation/evidence.ts";
import { gateOf, retireAtMs, type Gate } from "../rotation/gate.ts";
import { Heard } from "../rotation/heard.ts";
import {
  advance,
  hasten,
  nextStep,
  resume,
  rollBack,
  setAside,
  setProxyAside,
  signingRoot,
  startRotation,
  type Step,
} from "../rotation/rotation.ts";
import type { RotationState } from "./metrics.ts";
import type { LiveRegistry } from "../store/live-registry.ts";

/** Reports wake it; time alone (the end of the last certificates, an emergency's patience) is looked at this often. */
const lookMs = 1_000;
/** How long an emergency waits for members that answer, before the old root goes whatever they say. */
const defaultPatienceMs = 120_000;
/** Clocks that differ by less are no fault; certificates under the old root are trusted so much longer than they live. */
const defaultSkewMs = 300_000;

export interface RotationDeps {
  readonly authority: Authority;
  readonly live: LiveRegistry;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Log;
  /** Roots, certificates or the bundle are others. `cut`: connections made under a root that is gone must end. */
  readonly trustChanged: (change: { readonly cut: boolean }) => void;
  readonly skewMs?: number | undefined;
  readonly patienceMs?: number | undefined;
}

export interface RotationOrder {
  readonly to: RootKind;
  readonly emergency: boolean;
  readonly holdAt: Step | undefined;
}

export class RotationDriver {
  readonly #deps: RotationDeps;
  readonly #heard = new Heard();
  #wake: () => void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: RotationDeps) {
    this.#deps = deps;
  }

  /** Takes a member's report; true: it shall renew its certificates now. */
  report(cluster: ClusterName, report: StatusReport): boolean {
    const { authority, clock } = this.#deps;
    this.#heard.note(cluster, report, clock.now());
    this.#wake();
    const file = authority.trust();
    if (file.reissue?.includes(cluster) === true) return true;
    // it must trust the root before it is given a certificate under it
    if (report.trust === undefined || report.trust === null || report.bundleSequence < file.bundle.sequence)
      return false;
    const signing = authority.roots().find(({ id }) => id === signingRoot(file)?.id);
    const use = report.trust.roots.find(({ root }) => signing !== undefined && root === fingerprintOf(signing));
    return use?.clusterCa !== true || !use.agentCertificate;
  }

  evidence(): readonly MemberEvidence[] {
    const { authority, live, clock } = this.#deps;
    const rootIds = new Map(authority.roots().map((root) => [fingerprintOf(root), root.id]));
    return [...live.members.values()]
      .filter(({ member }) => member.state === "accepted" && !authority.isRevoked(member.cluster))
      .map(({ member }) => this.#heard.evidenceOf(member.cluster, rootIds, clock.now()))
      .sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  }

  /** Undefined: no rotation runs. */
  async gate(): Promise<Gate | undefined> {
    const { authority, live, clock } = this.#deps;
    const { rotation } = authority.trust();
    if (rotation === undefined) return undefined;
    // an empty list of members that is not known yet must not read as "nobody has to be asked"
    const unread = live.view === undefined ? "the registry is not read yet" : "";
    const rootProblem = rotation.step === "prepared" ? await authority.rootProblem(rotation.to) : "";
    const gate = gateOf({ rotation, members: this.evidence(), rootProblem, nowMs: clock.now() });
    if (unread === "") return gate;
    return { open: false, blockers: [{ cluster: "", reason: unread, away: false }, ...gate.blockers] };
  }

  /** For the metrics: a root that is only prepared is not tried anew by each scrape. */
  async state(): Promise<RotationState> {
    const { authority, clock } = this.#deps;
    const { rotation } = authority.trust();
    if (rotation === undefined) return { step: "", stepSeconds: 0, away: 0, waiting: 0 };
    const gate = rotation.step === "prepared" ? undefined : await this.gate();
    const names = (away: boolean) =>
      new Set(gate?.blockers.filter((each) => each.away === away).map(({ cluster }) => cluster)).size;
    const stepSeconds = Math.max(0, clock.now() - (rotation.journal.at(-1)?.atMs ?? clock.now())) / 1000;
    return { step: rotation.step, stepSeconds, away: names(true), waiting: gate === undefined ? 1 : names(false) };
  }

  async start({ to, emergency, holdAt }: RotationOrder): Promise<void> {
    await this.#inTurn(async () => {
      const { authority, audit, clock } = this.#deps;
      if (authority.trust().rotation === undefined) {
        await audit.record({ action: "rotation.start", actor: "operator", subject: "root", detail: { to, emergency } });
        const root = await authority.prepareRoot(to);
        await this.#change((trust) => {
          const started = startRotation(trust, root, clock.now());
          return started.ok && holdAt !== undefined ? resume(started.value, holdAt) : started;
        });
      } else if (!emergency) {
        throw new UserError("ISTHMUS_ROTATION_RUNS", "a rotation of the root runs already", { hint: "isthmus trust" });
      }
      if (emergency) await this.#hasten();
    });
    this.#wake();
  }

  async rollBack(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#record("rotation.roll-back", "operator");
      await this.#change((trust) => rollBack(trust, this.#deps.clock.now()));
    });
    this.#wake();
  }

  async resume(holdAt: Step | undefined): Promise<void> {
    await this.#inTurn(async () => {
      await this.#record("rotation.resume", "operator", holdAt === undefined ? {} : { holdAt });
      await this.#change((trust) => resume(trust, holdAt));
    });
    this.#wake();
  }

  /** `proxy`: of the member this one alone, by the name that the overview gives it. */
  async setAside(name: unknown, aside: boolean, proxy?: string): Promise<void> {
    const cluster = this.#memberNamed(name);
    await this.#inTurn(async () => {
      const detail = { cluster, ...(proxy === undefined ? {} : { proxy }) };
      await this.#record(aside ? "rotation.set-aside" : "rotation.wait-for", "operator", detail);
      await this.#change((trust) =>
        proxy === undefined ? setAside(trust, cluster, aside) : setProxyAside(trust, { cluster, proxy }, aside),
      );
    });
    this.#wake();
  }

  /** The member is told with its next report, and again until it has asked for a new cluster CA. */
  async reissue(name: unknown): Promise<ClusterName> {
    const cluster = this.#memberNamed(name);
    const { audit, authority } = this.#deps;
    await audit.record({ action: "member.reissue", actor: "operator", subject: cluster, detail: {} });
    await authority.changeTrust((file): FleetFile => {
      const { reissue = [] } = file;
      return reissue.includes(cluster) ? file : { ...file, reissue: [...reissue, cluster].sort() };
    });
    return cluster;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#deps;
    for (;;) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      await this.#look().catch((error: unknown) => {
        log.error("a step of the rotation was not taken; it is tried again", {}, error);
      });
      const both = AbortSignal.any([signal, woken.signal]);
      await this.#deps.clock.sleep(lookMs, both).catch(() => signal.throwIfAborted());
    }
  }

  #look(): Promise<void> {
    return this.#inTurn(async () => {
      const gate = await this.gate();
      if (gate?.open !== true) return;
      const { authority, clock, log, skewMs = defaultSkewMs } = this.#deps;
      const { rotation } = authority.trust();
      if (rotation === undefined) return;
      const step = nextStep[rotation.step];
      const ignored = gate.blockers.map(({ cluster }) => cluster).join(",");
      await this.#record(
        step === "over" ? "rotation.over" : `rotation.${step}`,
        "hub",
        ignored === "" ? {} : { ignored },
      );
      const nowMs = clock.now();
      const endMs = step === "retiring" ? retireAtMs(this.evidence(), nowMs, skewMs) : undefined;
      await this.#change((trust) => ({ ok: true, value: advance(trust, nowMs, endMs) }));
      log.info("the rotation of the root went on", { step, from: rotation.from, to: rotation.to });
    });
  }

  async #hasten(): Promise<void> {
    const { clock, patienceMs = defaultPatienceMs } = this.#deps;
    await this.#record("rotation.hasten", "operator");
    await this.#change((trust) => hasten(trust, clock.now() + patienceMs));
  }

  async #record(action: string, actor: string, detail: Readonly<Record<string, string>> = {}): Promise<void> {
    const { audit, authority } = this.#deps;
    const { rotation } = authority.trust();
    const roots = rotation === undefined ? {} : { from: rotation.from, to: rotation.to };
    await audit.record({ action, actor, subject: "root", detail: { ...roots, ...detail } });
  }

  async #change(change: (trust: FleetFile) => Result<FleetFile>): Promise<void> {
    const { authority, trustChanged } = this.#deps;
    const before = authority.bundle().rootsDer.length;
    const chainBefore = authority.server().chainPem;
    const changed = await authority.changeTrust((trust) => {
      const next = change(trust);
      if (next.ok) return next.value;
      const [problem] = next.error;
      throw new UserError(problem?.code ?? "ISTHMUS_ROTATION_NONE", problem?.message ?? "not possible now", {
        hint: "isthmus trust shows how far the rotation is",
      });
    });
    const { length } = authority.bundle().rootsDer;
    if (changed) trustChanged({ cut: length < before || authority.server().chainPem !== chainBefore });
  }

  /** One after the other: an operator's word and a step of our own must not decide on the same state. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #memberNamed(name: unknown): ClusterName {
    const cluster = parseClusterName(typeof name === "string" ? name : "");
    if (cluster.ok && this.#deps.live.members.has(cluster.value)) return cluster.value;
    throw new UserError("ISTHMUS_MEMBER_UNKNOWN", `${String(name)} is not a member of this fleet`, {
      hint: "isthmus clusters lists the members",
    });
  }
}
