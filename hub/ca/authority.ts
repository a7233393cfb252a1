// The fleet's certificate authority: opens roots and keys from the data folder, signs cluster CAs and agent certificates,
// keeps the hub's own TLS certificate fresh, and signs the trust bundle. Called by hub/api and the CLI.
// It decides no membership: its caller has authenticated the cluster that it names.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { trustDomainOf, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import type { TrustBundle } from "../../shared/pki/bundle.ts";
import type { RequestFacts } from "../../shared/pki/certificate.ts";
import { spkiPin } from "../../shared/pki/key.ts";
import { chainPem } from "../../shared/pki/pem.ts";
import {
  agentTemplate,
  clusterCaTemplate,
  type CertificateTemplate,
  type ServerNames,
  type Validity,
} from "../../shared/pki/template.ts";
import { parseRequest } from "../../shared/pki/x509.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { checkKeyOwner, checkRequest } from "./csr.ts";
import { openFleetBundle } from "./fleet-bundle.ts";
import {
  fleetFileExists,
  readFleetFile,
  writeFleetFile,
  type FleetFile,
  type RootEntry,
  type RootKind,
} from "./fleet-file.ts";
import { createKeyStore, openKeyStore, type KeyPlace } from "./key-store.ts";
import { openListedRoots, signingOf, type Root } from "./root.ts";
import { rootCustody, rootSources } from "./root-custody.ts";
import { currentServerIdentity, type ServerCertificateDeps, type ServerIdentity } from "./server-certificate.ts";

const dayMs = 24 * 3_600_000;
const defaultTtlMs = 7 * dayMs;
const defaultRootTtlMs = 5 * 365 * dayMs;

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
  readonly clusterCaTtlMs: number;
  server(): ServerIdentity;
  /** Renews the hub's TLS certificate when half of its life is over; true when `server()` changed. Call it every minute or so. */
  renewServer(): Promise<boolean>;
  /** Leaf first, without the root. */
  issueAgent(cluster: ClusterName, csrDer: Uint8Array): Promise<Result<readonly Uint8Array[]>>;
  issueClusterCa(cluster: ClusterName, csrDer: Uint8Array): Promise<Result<readonly Uint8Array[]>>;
  rootsPem(): string;
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
}

export interface InitOptions {
  readonly fleetDomain: FleetDomain;
  /** DNS names and IP addresses under which people's tools reach the hub. */
  readonly serverNames: ServerNames;
  readonly clock: Clock;
  readonly rootTtlMs?: number;
  /** Where the fleet's keys shall be; a key-encryption key that does not exist is made. */
  readonly place?: KeyPlace;
}

/** Makes root, keys and fleet.json. The last is written last: a run cut short leaves nothing that looks like a fleet. */
export async function initAuthority(dataDir: string, options: InitOptions): Promise<Authority> {
  const { fleetDomain, serverNames, clock } = options;
  if (await fleetFileExists(dataDir)) {
    throw new UserError("ISTHMUS_FLEET_EXISTS", `${dataDir} already holds a fleet`, {
      hint: "start it with: isthmus hub; or choose another data folder",
    });
  }
  const place = options.place ?? {};
  const keys = await createKeyStore({ dataDir, fleetDomain, place });
  const nowMs = clock.now();
  const id = String(nowMs);
  const ttlMs = options.rootTtlMs ?? defaultRootTtlMs;
  await rootSources(dataDir, keys).self.prepare({ id, fleet: fleetDomain, nowMs, ttlMs });
  await keys.create(id, "server");
  await keys.createSigner(id, "bundle");
  await writeFleetFile(dataDir, {
    version: 1,
    fleetDomain,
    createdAtMs: nowMs,
    roots: [{ id, state: "signing" }],
    bundle: { sequence: 1, signer: id, revokedTrustDomains: [] },
    server: { ...serverNames, keyId: id },
    ...place,
  });
  return openAuthority(dataDir, clock);
}

export async function openAuthority(dataDir: string, clock: Clock, options: AuthorityOptions = {}): Promise<Authority> {
  const fleet = await readFleetFile(dataDir);
  const { fleetDomain } = fleet;
  const keys = await openKeyStore({ dataDir, fleetDomain, place: fleet });
  const sources = rootSources(dataDir, keys);
  const signer = await keys.openSigner(fleet.bundle.signer, "bundle");
  const openRoots = (file: FleetFile) => openListedRoots(dataDir, file, sources);
  const bundle = await openFleetBundle({ dataDir, fleet, openRoots, signer });
  const keyPem = await keys.open(fleet.server.keyId, "server");
  const serverDeps: ServerCertificateDeps = { dataDir, fleet: fleetDomain, names: fleet.server, keyPem };
  const serverNow = () => currentServerIdentity(serverDeps, bundle.roots(), clock.now());
  let server = await serverNow();
  const issue = issuerOf({ root: () => signingOf(bundle.roots()), clock, options });
  const custody = rootCustody({ dataDir, sources, bundle, clock });
  await custody.removeFormer();
  const { agentTtlMs = defaultTtlMs, clusterCaTtlMs = defaultTtlMs } = options;
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
    server: () => server,
    renewServer: async () => {
      const before = server.chainPem;
      server = await serverNow();
      return server.chainPem !== before;
    },
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
      if (issued.ok) await bundle.update((file) => withoutReissue(file, cluster));
      return issued;
    },
    rootsPem: () => chainPem(bundle.current().rootsDer),
  };
}

/** The member has the new cluster CA that an operator wanted it to have. */
function withoutReissue(file: FleetFile, cluster: ClusterName): FleetFile {
  const { reissue = [], ...rest } = file;
  if (!reissue.includes(cluster)) return file;
  const others = reissue.filter((name) => name !== cluster);
  return others.length === 0 ? rest : { ...rest, reissue: others };
}

/** Reads a request for callers that bind its key before they have it signed: the pin, after all checks. */
export async function readRequest(csrDer: Uint8Array): Promise<Result<{ readonly spkiPin: string }>> {
  const request = await checkedRequest(csrDer);
  return request.ok ? ok({ spkiPin: spkiPin(request.value.publicKey.spkiDer) }) : request;
}

async function checkedRequest(csrDer: Uint8Array): Promise<Result<RequestFacts>> {
  const request = await parseRequest(csrDer);
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
  readonly options: AuthorityOptions;
}

function issuerOf({ root, clock, options }: IssuerDeps) {
  return async (cluster: ClusterName, csrDer: Uint8Array, profile: Profile): Promise<Result<readonly Uint8Array[]>> => {
    const { id, issuer } = root();
    if (issuer === undefined) throw new Error(`root ${id} does not sign here`);
    const request = await checkedRequest(csrDer);
    if (!request.ok) return request;
    const { spkiDer } = request.value.publicKey;
    if (options.bindKey !== undefined) {
      const foreign = checkKeyOwner(cluster, await options.bindKey(spkiPin(spkiDer), cluster));
      if (foreign.length > 0) return err(foreign);
    }
    return issuer.issue({ spkiDer, nowMs: clock.now(), ...profile });
  };
}
