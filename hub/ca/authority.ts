// The fleet's certificate authority: opens roots and keys from the data folder, signs cluster CAs and agent certificates,
// keeps the hub's own TLS certificate fresh, and signs the trust bundle. Called by hub/api and the CLI.
// It decides no membership: its caller has authenticated the cluster that it names.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { trustDomainOf, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import type { TrustBundle } from "../../shared/pki/bundle.ts";
import type { RequestFacts } from "../../shared/pki/certificate.ts";
import { spkiPin } from "../../shared/pki/key.ts";
import { createSigningPool, type SigningPool } from "../../shared/pki/signing-pool.ts";
import { chainPem } from "../../shared/pki/pem.ts";
import {
  agentTemplate,
  clusterCaTemplate,
  type CertificateTemplate,
  type Validity,
} from "../../shared/pki/template.ts";
import { rootOfChain } from "../../shared/pki/chain.ts";
import { parseCertificate, parseRequest } from "../../shared/pki/x509.ts";
import { err, ok, type Problem, type Result } from "../../shared/result.ts";
import { trustedRoots } from "../rotation/rotation.ts";
import { checkKeyOwner, checkRequest } from "./csr.ts";
import { openClusterCaBook, type ClusterCaBook, type SignedClusterCa } from "./cluster-ca-book.ts";
import { openFleetBundle, type FleetBundle } from "./fleet-bundle.ts";
import { readFleetFile, type FleetFile, type RootEntry, type RootKind } from "./fleet-file.ts";
import { openKeyStore } from "./key-store.ts";
import { beginFleet, defaultRootTtlMs, defaultTtlMs, type InitOptions } from "./new-fleet.ts";
import { openListedRoots, signingOf, type Root } from "./root.ts";
import { fewestClusterCaLives, rootCustody } from "./root-custody.ts";
import { rootSources } from "./root-sources.ts";
import {
  currentServerIdentity,
  defaultServerTtlMs,
  type ServerCertificateDeps,
  type ServerIdentity,
} from "./server-certificate.ts";

export interface Authority {
  readonly fleetDomain: FleetDomain;
  /** The fleet's roots and revocations as the hub states them to members. */
  bundle(): TrustBundle;
  readonly isRevoked: (cluster: ClusterName) => boolean;
  /** On disk and in `bundle()` when it resolves; false: it was so already. */
  setRevoked(cluster: ClusterName, revoked: boolean): Promise<boolean>;
  /** fleet.json as it is now: the roots with their states, and the rotation that runs. */
  trust(): FleetFile;
  /** The roots that are made, opened. One that waits for its certificate is not among them. */
  roots(): readonly Root[];
  /** On disk, and in force in all that is signed, when it resolves. False: `change` answered what it was given. */
  changeTrust(change: (trust: FleetFile) => FleetFile): Promise<boolean>;
  /** Makes a root beside those of the fleet; it is listed nowhere until `changeTrust` says so. */
  prepareRoot(kind: RootKind): Promise<RootEntry>;
  /** Why a prepared root cannot be trusted yet; empty: it can. */
  rootProblem(id: string): Promise<string>;
  /** What is wrong with the authority that signs now. Ask it every minute or so: it also has an issuing CA renewed that is due. */
  signingProblems(): Promise<readonly Problem[]>;
  /** 0 when it was issued, 1 at its end, of the issuing CA; 0 where the root itself signs. */
  issuingCaLifeOver(): number;
  readonly clusterCaTtlMs: number;
  server(): ServerIdentity;
  /** Renews the hub's TLS certificate when half of its life is over; true when `server()` changed. Call it every minute or so. */
  renewServer(): Promise<boolean>;
  /** Leaf first, without the root. */
  issueAgent(cluster: ClusterName, csrDer: Uint8Array): Promise<Result<readonly Uint8Array[]>>;
  issueClusterCa(cluster: ClusterName, csrDer: Uint8Array): Promise<Result<readonly Uint8Array[]>>;
  /**
   * When the last cluster CA that was signed for this name and is below a root that is trusted ends; 0: it did so `marginMs` ago,
   * or there was none.
   */
  clusterCaTrustedUntilMs(cluster: ClusterName, marginMs?: number): number;
  rootsPem(): string;
  /** For callers that bind a request's key before they have it signed: the pin, after all checks. */
  readRequest(csrDer: Uint8Array): Promise<Result<{ readonly spkiPin: string }>>;
  /**
   * Takes what an operator signed for the offline root that waits, or that signs now (its issuing CA anew): PEM, issuing CA
   * first, root last. Throws UserError ISTHMUS_ISSUING_CHAIN.
   */
  importChain(pem: string): Promise<{ readonly id: string }>;
}

export interface AuthorityOptions {
  /**
   * Binds a public key (`sha256/...`) to `cluster` unless it is bound already, and answers its owner. Absent: the caller has
   * bound the key itself, in the same step in which it redeemed the token.
   */
  readonly bindKey?: (spkiPin: string, cluster: ClusterName) => Promise<string>;
  /** A hub that is away for a weekend must not strand a member: half of this is how long it may be away. */
  readonly agentTtlMs?: number;
  readonly clusterCaTtlMs?: number;
  /** Of roots that a rotation makes. */
  readonly rootTtlMs?: number;
  /** Of the hub's own certificate. */
  readonly serverTtlMs?: number;
  /** Of the program; absent: one of the authority's own. */
  readonly pool?: SigningPool;
}

/** Makes root, keys and fleet.json; see new-fleet.ts. */
export async function initAuthority(dataDir: string, options: InitOptions): Promise<Authority> {
  await beginFleet(dataDir, options);
  return openAuthority(dataDir, options.clock);
}

export async function openAuthority(dataDir: string, clock: Clock, options: AuthorityOptions = {}): Promise<Authority> {
  const fleet = await readFleetFile(dataDir);
  const { fleetDomain } = fleet;
  const keys = await openKeyStore({ dataDir, fleetDomain, place: fleet });
  const { agentTtlMs = defaultTtlMs, clusterCaTtlMs = defaultTtlMs, pool = createSigningPool() } = options;
  const { serverTtlMs = defaultServerTtlMs } = options;
  const leastLifeMs = fewestClusterCaLives * clusterCaTtlMs;
  const sources = rootSources({ dataDir, keys, fleetDomain, clock, pool, leastLifeMs });
  const signer = await keys.openSigner(fleet.bundle.signer, "bundle");
  const openRoots = (file: FleetFile) => openListedRoots(dataDir, file, sources);
  const bundle = await openFleetBundle({ dataDir, fleet, openRoots, signer });
  const keyPem = await keys.open(fleet.server.keyId, "server");
  const serverDeps: ServerCertificateDeps = {
    dataDir,
    fleet: fleetDomain,
    names: fleet.server,
    keyPem,
    ttlMs: serverTtlMs,
  };
  const serverNow = () => currentServerIdentity(serverDeps, bundle.roots(), clock.now());
  let server = await serverNow();
  const book = await openClusterCaBook(dataDir);
  const custody = rootCustody({ dataDir, sources, bundle, clock });
  await custody.removeFormer();
  return {
    fleetDomain,
    clusterCaTtlMs,
    bundle: () => bundle.current(),
    trust: () => bundle.file(),
    roots: () => bundle.roots(),
    isRevoked: (cluster) => bundle.isRevoked(trustDomainOf(cluster, fleetDomain)),
    setRevoked: (cluster, revoked) => bundle.setRevoked(trustDomainOf(cluster, fleetDomain), revoked),
    changeTrust: async (change) => {
      const changed = await bundle.update(change);
      if (changed) server = await serverNow();
      if (changed) await custody.removeFormer();
      return changed;
    },
    prepareRoot: (kind) => custody.prepare(kind, options.rootTtlMs ?? defaultRootTtlMs),
    rootProblem: (id) => custody.problemOf(id, clusterCaTtlMs),
    signingProblems: () => custody.signingProblems(),
    issuingCaLifeOver: () => custody.issuingCaLifeOver(),
    server: () => server,
    renewServer: async () => {
      const before = server.chainPem;
      server = await serverNow();
      return server.chainPem !== before;
    },
    ...issuing({ fleetDomain, agentTtlMs, clusterCaTtlMs, bundle, book, clock, pool, options }),
    importChain: async (pem) => {
      const { id } = offlineRoot(bundle.file());
      await sources.offline.importChain(id, pem);
      // a new list of the same roots: they are opened again, with what was imported
      await bundle.update((file) => ({ ...file, roots: [...file.roots] }));
      return { id };
    },
    rootsPem: () => chainPem(bundle.current().rootsDer),
  };
}

interface Issuing {
  readonly fleetDomain: FleetDomain;
  readonly agentTtlMs: number;
  readonly clusterCaTtlMs: number;
  readonly bundle: FleetBundle;
  readonly book: ClusterCaBook;
  readonly clock: Clock;
  readonly pool: SigningPool;
  readonly options: AuthorityOptions;
}

type Issues = Pick<Authority, "issueAgent" | "issueClusterCa" | "readRequest" | "clusterCaTrustedUntilMs">;

/** What it does with requests. */
function issuing(deps: Issuing): Issues {
  const { fleetDomain, agentTtlMs, clusterCaTtlMs, bundle, book, clock, pool } = deps;
  const issue = issuerOf({ ...deps, root: () => signingOf(bundle.roots()) });
  return {
    issueAgent: (cluster, csrDer) =>
      issue(cluster, csrDer, {
        ttlMs: agentTtlMs,
        template: (validity) => agentTemplate(cluster, fleetDomain, validity),
      }),
    issueClusterCa: async (cluster, csrDer) => {
      const issued = await issue(cluster, csrDer, {
        ttlMs: clusterCaTtlMs,
        template: (validity) => clusterCaTemplate(cluster, fleetDomain, validity),
      });
      if (!issued.ok) return issued;
      await book.note(cluster, signedClusterCa(issued.value, bundle.roots()), clock.now());
      await bundle.update((file) => withoutReissue(file, cluster));
      return issued;
    },
    clusterCaTrustedUntilMs: (cluster, marginMs = 0) => {
      const roots = new Set(trustedRoots(bundle.roots()).map(({ id }) => id));
      return book.trustedUntilMs(cluster, roots, clock.now() - marginMs);
    },
    readRequest: async (csrDer) => {
      const request = await checkedRequest(csrDer, pool);
      return request.ok ? ok({ spkiPin: spkiPin(request.value.publicKey.spkiDer) }) : request;
    },
  };
}

/** Of the chain itself: the root that signs may be another since it was asked for. */
function signedClusterCa(chainDer: readonly Uint8Array[], roots: readonly Root[]): SignedClusterCa {
  const rootDer = rootOfChain(
    chainDer,
    roots.map(({ der }) => der),
  );
  const root = roots.find(({ der }) => der === rootDer);
  const facts = chainDer[0] === undefined ? undefined : parseCertificate(chainDer[0]);
  if (root === undefined || facts?.ok !== true) throw new Error("a cluster CA was signed below no root of this fleet");
  return { root: root.id, notAfterMs: facts.value.notAfterMs };
}

function offlineRoot({ roots }: FleetFile): RootEntry {
  const offline = roots.filter(
    ({ kind, state }) => kind === "offline" && (state === "prepared" || state === "signing"),
  );
  const wanted = offline.find(({ state }) => state === "prepared") ?? offline[0];
  if (wanted !== undefined) return wanted;
  throw new UserError("ISTHMUS_ROOT_NONE_AWAITED", "no root of this fleet waits for a certificate", {
    hint: "begin with: isthmus rotate root --to offline",
  });
}

/** The member has the new cluster CA that an operator wanted it to have. */
function withoutReissue(file: FleetFile, cluster: ClusterName): FleetFile {
  const { reissue = [], ...rest } = file;
  if (!reissue.includes(cluster)) return file;
  const others = reissue.filter((name) => name !== cluster);
  return others.length === 0 ? rest : { ...rest, reissue: others };
}

async function checkedRequest(csrDer: Uint8Array, pool: SigningPool): Promise<Result<RequestFacts>> {
  const plain = await pool.checkRequest(csrDer);
  const request = plain === undefined ? await pool.inTurn(() => parseRequest(csrDer)) : ok(plain);
  if (!request.ok) return request;
  const problems = checkRequest(request.value);
  return problems.length === 0 ? request : err(problems);
}

interface Profile {
  readonly ttlMs: number;
  readonly template: (validity: Validity) => CertificateTemplate;
}

interface IssuerDeps {
  /** The one that signs now: a rotation changes it while the hub runs. */
  readonly root: () => Root;
  readonly clock: Clock;
  readonly pool: SigningPool;
  readonly options: AuthorityOptions;
}

function issuerOf({ root, clock, pool, options }: IssuerDeps) {
  return async (cluster: ClusterName, csrDer: Uint8Array, profile: Profile): Promise<Result<readonly Uint8Array[]>> => {
    const { id, issuer } = root();
    if (issuer === undefined) throw new Error(`root ${id} does not sign here`);
    const request = await checkedRequest(csrDer, pool);
    if (!request.ok) return request;
    const { spkiDer } = request.value.publicKey;
    if (options.bindKey !== undefined) {
      const foreign = checkKeyOwner(cluster, await options.bindKey(spkiPin(spkiDer), cluster));
      if (foreign.length > 0) return err(foreign);
    }
    return issuer.issue({ spkiDer, nowMs: clock.now(), ...profile });
  };
}
