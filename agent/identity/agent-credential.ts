// The member's own credentials while it runs: agent certificate, cluster CA and trust bundle, each replaced make-before-break.
// Renewed at half of their life by the wall clock; what is new is checked, kept, and only then used. Called by agent/hub
// (which brings the RPC and the bundles) and by whoever needs the current cluster CA or roots.
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import { acceptBundle, type TrustBundle } from "../../shared/pki/bundle.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import { checkReceived, checkTimes, rootOfChain } from "../../shared/pki/chain.ts";
import { certificateFingerprint } from "../../shared/pki/fingerprint.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { chainPem, parseChainPem } from "../../shared/pki/pem.ts";
import { agentTemplate, renewalDueMs, type Validity } from "../../shared/pki/template.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { ok, type Problem, type Result } from "../../shared/result.ts";
import { openClusterCa, type ClusterCa } from "./cluster-ca.ts";
import type { IdentityStore, JoinedIdentity } from "./identity-state.ts";

/** A suspended machine's timers stand still while certificates age: so the clock is asked at least this often. */
const recheckMs = 30_000;
const retry = { baseMs: 1_000, maxMs: recheckMs };

/** The hub's Renew as this file needs it. `clusterCaCsrDer` empty: the agent certificate only. */
export type Renew = (request: {
  readonly agentCsrDer: Uint8Array;
  readonly clusterCaCsrDer: Uint8Array;
}) => Promise<{ readonly agentChainDer: readonly Uint8Array[]; readonly clusterCaChainDer: readonly Uint8Array[] }>;

export interface AgentCredential {
  state(): JoinedIdentity;
  clusterCa(): ClusterCa;
  /** The one before, while it is of another root that is still trusted: for who does not know the new root yet. */
  formerClusterCa(): ClusterCa | undefined;
  /** New certificates are on their way: what is held now says nothing of what will be held in a moment. */
  isRenewing(): boolean;
  agentValidity(): Validity;
  /** Fingerprint of the root that the agent's own certificate chains to. */
  agentRoot(): string;
  /** Told after anything of the state changed. Returns the way to stop listening. */
  onChange(listener: () => void): () => void;
  /** Takes a bundle that the hub sent if it is signed by a known key and newer; else says why not. */
  offerBundle(bundle: TrustBundle): Promise<Result<"newer" | "unchanged">>;
  /** The hub asks for a renewal before its time, or knows newer certificates than these: what another replica kept is taken over. */
  renewSoon(): void;
  /** Renews until the signal aborts. */
  run(renew: Renew, signal: AbortSignal): Promise<void>;
}

export interface AgentCredentialDeps {
  readonly initial: JoinedIdentity;
  readonly store: IdentityStore;
  /** Of several replicas one renews and writes the Secret; the others take over what it wrote. */
  readonly mayWrite: () => boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

interface Opened {
  readonly state: JoinedIdentity;
  readonly clusterCa: ClusterCa;
  readonly agentValidity: Validity;
  readonly agentRoot: string;
}

/** Checks a joined state whole: keys, chains, profile, roots. Times are not asked: an ended certificate is renewed or told of later. */
export function openIdentity(state: JoinedIdentity): Result<Opened> {
  const clusterCa = openClusterCa(state);
  if (!clusterCa.ok) return clusterCa;
  const chain = parseChainPem(state.agentChainPem);
  if (!chain.ok) return chain;
  const certificate = checkReceived({
    chainDer: chain.value,
    rootsDer: state.bundle.rootsDer,
    spkiDer: spkiOfKeyPem(state.agentKeyPem),
    template: (validity) => agentTemplate(state.cluster, state.fleetDomain, validity),
  });
  if (!certificate.ok) return certificate;
  const root = rootOfChain(chain.value, state.bundle.rootsDer);
  const agentRoot = root === undefined ? "" : certificateFingerprint(root);
  return ok({ state, clusterCa: clusterCa.value, agentValidity: certificate.value, agentRoot });
}

export function openAgentCredential(deps: AgentCredentialDeps): Result<AgentCredential> {
  const first = openIdentity(deps.initial);
  return first.ok ? ok(new RunningCredential(deps, first.value)) : first;
}

class RunningCredential implements AgentCredential {
  readonly #deps: AgentCredentialDeps;
  readonly #listeners = new Set<() => void>();
  #opened: Opened;
  #former: ClusterCa | undefined;
  #renewing = false;
  /** Another replica joins anew: what is kept are its keys now, which nobody else has. */
  #rejoining = false;
  #agentDueMs = 0;
  #clusterCaDueMs = 0;
  #wake: () => void = () => undefined;

  constructor(deps: AgentCredentialDeps, opened: Opened) {
    this.#deps = deps;
    this.#opened = opened;
    this.#schedule();
  }

  state(): JoinedIdentity {
    return this.#opened.state;
  }

  clusterCa(): ClusterCa {
    return this.#opened.clusterCa;
  }

  formerClusterCa(): ClusterCa | undefined {
    return this.#former;
  }

  isRenewing(): boolean {
    return this.#renewing;
  }

  agentRoot(): string {
    return this.#opened.agentRoot;
  }

  agentValidity(): Validity {
    return this.#opened.agentValidity;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async offerBundle(bundle: TrustBundle): Promise<Result<"newer" | "unchanged">> {
    const { bundle: held, knownSigners } = this.state();
    const accepted = acceptBundle({ bundle: held, knownSigners }, bundle, isBundleSigned(bundle));
    if (!accepted.ok || accepted.value === "unchanged") return accepted;
    if (this.#deps.mayWrite()) await this.#adoptKept();
    const state = { ...this.state(), bundle };
    const opened = openIdentity(state);
    // a root that is gone is trusted no longer, whatever hangs on it here; what does is renewed, or joins again
    if (!opened.ok) this.#deps.log.error("a root that this member's certificates chain to is trusted no longer");
    await this.#keep(opened.ok ? opened.value : { ...this.#opened, state });
    return accepted;
  }

  renewSoon(): void {
    if (this.#renewing) return; // a second one would end the key that the other replicas still use
    this.#agentDueMs = 0;
    this.#clusterCaDueMs = 0;
    this.#wake();
  }

  async run(renew: Renew, signal: AbortSignal): Promise<void> {
    for (let failures = 0; ;) {
      failures = await this.#attempt(renew).then(
        () => 0,
        (error: unknown) => {
          signal.throwIfAborted();
          this.#tellFailure(error);
          return failures + 1;
        },
      );
      await this.#pause(failures, signal);
    }
  }

  async #attempt(renew: Renew): Promise<void> {
    if (this.#isDue()) await this.#refresh(renew);
  }

  #tellFailure(error: unknown): void {
    this.#deps.log.warn("certificates were not renewed; the held ones stay in use", {
      cause: causeChain(error),
      agentEndsAt: new Date(this.agentValidity().notAfterMs).toISOString(),
      clusterCaEndsAt: new Date(this.clusterCa().validity.notAfterMs).toISOString(),
    });
  }

  #isDue(): boolean {
    return Math.min(this.#agentDueMs, this.#clusterCaDueMs) <= this.#deps.clock.now();
  }

  async #refresh(renew: Renew): Promise<void> {
    await this.#adoptKept();
    if (this.#rejoining || !this.#deps.mayWrite() || !this.#isDue()) return;
    const withClusterCa = this.#clusterCaDueMs <= this.#deps.clock.now();
    this.#renewing = true;
    try {
      const renewed = await this.#renewed(renew, withClusterCa);
      // kept even by one that leads no more, and used only then: once a new key is used the hub takes the old one for as long as
      // one more renewal, and whoever leads now has no other. If somebody else wrote meanwhile this rejects, and nothing is lost.
      await this.#deps.store.save(renewed.state);
      this.#use(renewed);
    } finally {
      this.#renewing = false;
    }
    this.#deps.log.info("certificates were renewed", { clusterCa: withClusterCa });
  }

  /** Another replica may have renewed already: what is kept is asked before anything is written or renewed. */
  async #adoptKept(): Promise<void> {
    const kept = await this.#deps.store.load();
    this.#rejoining = kept?.stage === "joining";
    if (kept?.stage !== "joined" || kept.agentChainPem === this.state().agentChainPem) return;
    const { bundle, knownSigners } = this.state(); // never an older one than this replica has accepted
    const opened = openIdentity(bundle.sequence > kept.bundle.sequence ? { ...kept, bundle, knownSigners } : kept);
    if (opened.ok && opened.value.agentValidity.notAfterMs >= this.agentValidity().notAfterMs) this.#use(opened.value);
  }

  /** New keys each time: a stolen one is worth no more than its certificate's life. */
  async #renewed(renew: Renew, withClusterCa: boolean): Promise<Opened> {
    const before = this.state();
    const agentKeyPem = generateKeyPem();
    const clusterCaKeyPem = withClusterCa ? generateKeyPem() : before.clusterCaKeyPem;
    const reply = await renew({
      agentCsrDer: await buildRequest(agentKeyPem),
      clusterCaCsrDer: withClusterCa ? await buildRequest(clusterCaKeyPem) : new Uint8Array(),
    });
    const clusterCaChainPem = withClusterCa ? chainPem(reply.clusterCaChainDer) : before.clusterCaChainPem;
    const agentChainPem = chainPem(reply.agentChainDer);
    const state = { ...this.state(), agentKeyPem, agentChainPem, clusterCaKeyPem, clusterCaChainPem };
    const opened = openIdentity(state);
    if (!opened.ok) throw refused(opened.error);
    const usable = checkTimes(opened.value.agentValidity, this.#deps.clock.now());
    if (!usable.ok) throw refused(usable.error);
    return opened.value;
  }

  async #keep(opened: Opened): Promise<void> {
    if (this.#deps.mayWrite() && !this.#rejoining) await this.#deps.store.save(opened.state);
    this.#use(opened);
  }

  #use(opened: Opened): void {
    const before = this.#opened;
    this.#opened = opened;
    if (before.clusterCa.root !== opened.clusterCa.root) this.#former = before.clusterCa;
    const trusted = opened.state.bundle.rootsDer.map(certificateFingerprint);
    if (this.#former !== undefined && !trusted.includes(this.#former.root)) this.#former = undefined;
    const renewed =
      before.state.agentChainPem !== opened.state.agentChainPem ||
      before.state.clusterCaChainPem !== opened.state.clusterCaChainPem;
    if (renewed) this.#schedule();
    for (const listener of this.#listeners) listener();
  }

  #schedule(): void {
    this.#agentDueMs = renewalDueMs(this.#opened.agentValidity, this.#deps.random());
    this.#clusterCaDueMs = renewalDueMs(this.#opened.clusterCa.validity, this.#deps.random());
  }

  async #pause(failures: number, signal: AbortSignal): Promise<void> {
    const { clock, random, mayWrite } = this.#deps;
    const dueMs = Math.min(this.#agentDueMs, this.#clusterCaDueMs) - clock.now();
    // due again already: asked for while it was renewed, or the root is about to end; never a tight loop
    const overdueMs = mayWrite() ? retry.baseMs : recheckMs;
    const calmMs = dueMs > 0 ? Math.min(recheckMs, dueMs) : overdueMs;
    const waitMs = failures > 0 ? backoffDelayMs(failures - 1, retry, random()) : calmMs;
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await clock.sleep(waitMs, AbortSignal.any([signal, woken.signal])).catch(() => signal.throwIfAborted());
  }
}

function refused(problems: readonly Problem[]): Error {
  return new Error(
    `the hub's answer is refused: ${problems.map(({ code, message }) => `${code} ${message}`).join("; ")}`,
  );
}
