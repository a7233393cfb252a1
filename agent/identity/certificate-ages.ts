// What the member's certificates have come to: agent, cluster CA, the oldest workload leaf, and the fleet's roots. An alarm at a
// half, three quarters and nine tenths of each life: a problem in `isthmus status`, a line in the log, a metric. Called by member.ts.
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import { lifeOver, lifeStage, type LifeStage } from "../../shared/pki/age.ts";
import type { Validity } from "../../shared/pki/template.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { Problem } from "../../shared/result.ts";
import type { AgentCredential } from "./agent-credential.ts";
import type { SvidIssuer } from "./svid-issuer.ts";

export interface HeldCertificate {
  /** `agent`, `cluster-ca`, `workload`, `root`: the label of the metric. */
  readonly name: string;
  readonly validity: Validity;
}

export type HeldCertificates = () => readonly HeldCertificate[];

const parts: Readonly<Record<Exclude<LifeStage, "fresh">, string>> = {
  half: "half of its life is over",
  "three-quarters": "three quarters of its life are over",
  "nine-tenths": "nine tenths of its life are over",
  ended: "it has ended",
};

const nextSteps: Readonly<Record<string, string>> = {
  root: "rotate it: isthmus rotate root",
  workload: "the cluster CA ends too soon to sign a new one: see the agent's log",
};

function stageOf({ name, validity }: HeldCertificate, nowMs: number): LifeStage {
  return lifeStage(validity, nowMs, name !== "root");
}

/** Nothing while all is renewed in time. */
export function certificateProblems(held: readonly HeldCertificate[], nowMs: number): readonly Problem[] {
  return held.flatMap((certificate) => {
    const { name, validity } = certificate;
    const stage = stageOf(certificate, nowMs);
    if (stage === "fresh") return [];
    const end = new Date(validity.notAfterMs).toISOString();
    const next = nextSteps[name] ?? "it renews itself as soon as the hub answers: see the agent's log";
    const code = stage === "ended" ? "ISTHMUS_CERTIFICATE_ENDED" : "ISTHMUS_CERTIFICATE_AGING";
    return [{ code, message: `${parts[stage]} (end: ${end}); ${next}`, object: { kind: "Certificate", name } }];
  });
}

/** Between 0 and 1; the oldest of a name counts. */
export function livesOver(held: readonly HeldCertificate[], nowMs: number): ReadonlyMap<string, number> {
  const lives = new Map<string, number>();
  for (const { name, validity } of held) lives.set(name, Math.max(lives.get(name) ?? 0, lifeOver(validity, nowMs)));
  return lives;
}

/** Roots are read anew only when the bundle is another. */
function rootCertificates(): (rootsDer: readonly Uint8Array[]) => readonly HeldCertificate[] {
  let seen: readonly Uint8Array[] | undefined;
  let found: readonly HeldCertificate[] = [];
  return (rootsDer) => {
    if (rootsDer !== seen) {
      const facts = rootsDer.map(parseCertificate).filter((each) => each.ok);
      found = facts.map(({ value }) => ({ name: "root", validity: value }));
      seen = rootsDer;
    }
    return found;
  };
}

export function certificatesOf(credential: AgentCredential, issuer: SvidIssuer): HeldCertificates {
  const roots = rootCertificates();
  return () => {
    const leaf = issuer.oldest();
    return [
      { name: "agent", validity: credential.agentValidity() },
      { name: "cluster-ca", validity: credential.clusterCa().validity },
      ...(leaf === undefined ? [] : [{ name: "workload", validity: leaf }]),
      ...roots(credential.state().bundle.rootsDer),
    ];
  };
}

/** A suspended machine's timers stand still while certificates age, so the clock is asked at least this often. */
const lookEveryMs = 30_000;

/** Says each stage once, as it is reached; and that it is over. */
export async function watchAges(
  { held, clock, log }: { readonly held: HeldCertificates; readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const told = new Map<string, LifeStage>();
  for (;;) {
    const nowMs = clock.now();
    const certificates = held();
    for (const certificate of certificates) {
      const { name, validity } = certificate;
      const stage = stageOf(certificate, nowMs);
      if (stage === (told.get(name) ?? "fresh")) continue;
      told.set(name, stage);
      const fields = { certificate: name, endsAt: new Date(validity.notAfterMs).toISOString() };
      if (stage === "fresh") log.info("a certificate was renewed after all", fields);
      else if (stage === "ended") log.error("a certificate has ended", fields);
      else log.warn(`a certificate is not renewed yet: ${parts[stage]}`, fields);
    }
    const shortestMs = Math.min(...certificates.map(({ validity }) => validity.notAfterMs - validity.notBeforeMs));
    await clock.sleep(Math.max(1_000, Math.min(lookEveryMs, shortestMs / 20)), signal);
  }
}
