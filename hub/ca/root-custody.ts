// Roots that come and go: made for a rotation, tried before anybody is told of them, and their keys taken away when they have
// left the fleet. Called by authority.ts.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { causeChain } from "../../shared/log.ts";
import { lifeOver, lifeStage } from "../../shared/pki/age.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { hubServerTemplate } from "../../shared/pki/template.ts";
import type { Problem } from "../../shared/result.ts";
import type { IssuingCaState } from "./certificate-issuer.ts";
import type { FleetBundle } from "./fleet-bundle.ts";
import type { RootEntry, RootKind } from "./fleet-file.ts";
import { signingOf, type RootSources } from "./root.ts";

/** SPIRE #7199: a CA that was about to end was put to use, and what it signed was born expired. */
export const fewestClusterCaLives = 3;

export interface RootCustody {
  prepare(kind: RootKind, ttlMs: number): Promise<RootEntry>;
  /** Why a prepared root cannot be trusted yet; empty: it can. */
  problemOf(id: string, clusterCaTtlMs: number): Promise<string>;
  /** What is wrong with the root that signs: its key does not, or its issuing CA is not renewed. Also renews that when it is due. */
  signingProblems(): Promise<readonly Problem[]>;
  /** Between 0 and 1; 0 where the root itself signs. */
  issuingCaLifeOver(): number;
  /** Takes away the key of a root that a rotation has removed. Asking again is no mistake: a crash may come in between. */
  removeFormer(): Promise<void>;
}

export interface CustodyDeps {
  readonly dataDir: string;
  readonly sources: RootSources;
  readonly bundle: FleetBundle;
  readonly clock: Clock;
}

export function rootCustody({ sources, bundle, clock }: CustodyDeps): RootCustody {
  return {
    prepare: async (kind, ttlMs) => {
      const id = String(clock.now());
      try {
        await sources[kind].prepare({ id, fleet: bundle.file().fleetDomain, nowMs: clock.now(), ttlMs });
      } catch (error) {
        await sources[kind].remove(id); // an upstream that refused leaves no key behind
        throw error;
      }
      return { id, state: "prepared", kind };
    },
    problemOf: async (id, clusterCaTtlMs) => {
      const entry = bundle.file().roots.find((root) => root.id === id);
      const root = bundle.roots().find((opened) => opened.id === id);
      if (entry === undefined || root === undefined) return "the new root waits for its certificate";
      const { facts } = root;
      if (facts.notAfterMs - clock.now() < fewestClusterCaLives * clusterCaTtlMs) {
        return `the new root ends at ${new Date(facts.notAfterMs).toISOString()}: too soon for ${fewestClusterCaLives} lives of a cluster CA`;
      }
      return trial(bundle.file().fleetDomain, await issuerOrReason(sources, entry, facts), clock.now());
    },
    signingProblems: async () => {
      const { issuer } = signingOf(bundle.roots());
      if (issuer === undefined) return [];
      const reason = await trial(bundle.file().fleetDomain, issuer, clock.now()).catch((error: unknown) =>
        causeChain(error).join(": "),
      );
      const away =
        reason === "" ? [] : [{ code: "ISTHMUS_SIGNER_AWAY", message: `the fleet's key does not sign: ${reason}` }];
      return [...away, ...issuingCaProblems(issuer.issuingCa?.(), clock.now())];
    },
    issuingCaLifeOver: () => {
      const state = signingOf(bundle.roots()).issuer?.issuingCa?.();
      return state === undefined ? 0 : lifeOver(state.validity, clock.now());
    },
    removeFormer: async () => {
      const { lastRotation, roots, rotation } = bundle.file();
      if (lastRotation === undefined) return;
      const { from, to, outcome } = lastRotation;
      const former = outcome === "completed" ? from : to;
      if (rotation?.from === former || roots.some(({ id }) => id === former)) return;
      // of which kind it was is not written down any more: every source forgets an id that it does not have
      for (const source of Object.values(sources)) await source.remove(former);
    },
  };
}

/** What renews itself is due at half of its life, with a failure; what a person renews is told of from there on. */
function issuingCaProblems(state: IssuingCaState | undefined, nowMs: number): readonly Problem[] {
  if (state === undefined) return [];
  const { validity, renewsItself, failure } = state;
  const end = `it ends at ${new Date(validity.notAfterMs).toISOString()}`;
  if (failure !== undefined)
    return [{ code: "ISTHMUS_ISSUER_RENEWAL", message: `the issuing CA is not renewed, ${end}: ${failure}` }];
  const stage = lifeStage(validity, nowMs, renewsItself);
  if (stage === "fresh") return [];
  const message = `half of the issuing CA's life or more is over, ${end}; sign its request anew: isthmus root request`;
  return [{ code: "ISTHMUS_CERTIFICATE_AGING", message }];
}

type IssuerOrReason = Awaited<ReturnType<RootSources[RootKind]["issuer"]>> | string;

async function issuerOrReason(
  sources: RootSources,
  entry: RootEntry,
  facts: Parameters<RootSources[RootKind]["issuer"]>[1],
): Promise<IssuerOrReason> {
  try {
    return await sources[entry.kind ?? "self"].issuer(entry.id, facts);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

/** A certificate of the hub's own for a key that is thrown away: a root that cannot sign must not be the one that everybody waits for. */
async function trial(
  fleet: Parameters<typeof hubServerTemplate>[0],
  issuer: IssuerOrReason,
  nowMs: number,
): Promise<string> {
  if (typeof issuer === "string") return issuer;
  const issued = await issuer.issue({
    spkiDer: spkiOfKeyPem(generateKeyPem()),
    nowMs,
    ttlMs: 60_000,
    template: (validity) => hubServerTemplate(fleet, { dnsNames: [], ipAddresses: [] }, validity),
  });
  return issued.ok ? "" : `the new root does not sign: ${issued.error[0]?.message ?? ""}`;
}
