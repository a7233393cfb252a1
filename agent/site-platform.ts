// A machine without Kubernetes as a member's platform: a folder of manifests, tokens of its own, one process that always
// leads. Put together here from agent/site; decides nothing.
import type { Clock } from "../shared/clock.ts";
import { dataFolderGone } from "../shared/data-folder.ts";
import type { Log } from "../shared/log.ts";
import { ok, rejected } from "../shared/result.ts";
import type { BoundInput } from "./ir/inputs.ts";
import { share } from "./ir/sharing.ts";
import type { Membership, Platform, PlatformInputs, Service } from "./platform.ts";
import { gatewayFolder, workloadFolder, type CredentialFacts } from "./site/credential-folder.ts";
import {
  removeOtherCredentials,
  writeCredential,
  type Credential,
  type CredentialDeps,
} from "./site/credential-folders.ts";
import { hostsText } from "./site/host-names.ts";
import { createKeeper, type Keeper } from "./site/keeper.ts";
import type { SiteConfig } from "./site/site-config.ts";
import { registryFile } from "./site/site-files.ts";
import { workloadUid } from "./site/site-inputs.ts";
import { createSiteLeader } from "./site/site-leader.ts";
import { located } from "./site/site-objects.ts";
import type { SiteSource } from "./site/site-source.ts";
import { systemNamespace } from "./site/workload.ts";
import { verifyToken } from "./site/workload-token.ts";

export interface SitePlatformDeps {
  readonly config: SiteConfig;
  readonly source: SiteSource;
  readonly tokenKey: Uint8Array;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

const gatewayAccount = { namespace: systemNamespace, serviceAccount: "isthmus-gateway", name: "isthmus-gateway" };
/** Tokens live a day and are renewed at half of it: a machine that slept is noticed soon enough. */
const CREDENTIAL_CHECK_MS = 60_000;
const nothing: PlatformInputs = {
  meshNamespaces: [],
  services: [],
  slices: [],
  pods: [],
  exports: [],
  trafficTargets: [],
  httpRouteGroups: [],
  tcpRoutes: [],
  trafficSplits: [],
};

export function sitePlatform(deps: SitePlatformDeps): Platform {
  const { config, source } = deps;
  const registryCopy = registryFile(config.dataDir);
  let states: () => unknown = () => ({});
  return {
    inputs: () => source.inputs() ?? nothing,
    synced: () => source.inputs() !== undefined,
    awaited: "the first reading of the manifests and the first health checks",
    onChange: (listener) => source.onChange(listener),
    problems: () => source.problems(),
    located: (problem) => located(source.objects().places, problem),
    states: () => states(),
    gateways: () => [config.advertise],
    allowLoopback: isLoopback(config.advertise.host),
    storesCopies: false,
    registryCopy,
    authenticate: authenticator(deps),
    elect: (lead, signal) => lead(signal, () => !signal.aborted),
    serve: (membership) => {
      const served = serve(deps, membership, registryCopy);
      states = served.states;
      return served;
    },
  };
}

/** A member that dials others by loopback is one of several on this machine; nobody else could send us such an address for good. */
function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1";
}

function authenticator({ source, tokenKey, clock }: SitePlatformDeps): Platform["authenticate"] {
  return async (token) => {
    const claims = verifyToken(tokenKey, token, clock.now());
    if (!claims.ok) return claims;
    const { namespace, serviceAccount, name, expiresAtMs } = claims.value;
    await source.whenRead;
    const holders = [gatewayAccount, ...source.objects().records.Workload];
    const holder = holders.find((each) => each.namespace === namespace && each.name === name);
    if (holder?.serviceAccount !== serviceAccount) {
      return rejected(
        "ISTHMUS_TOKEN_REFUSED",
        `there is no workload ${namespace}/${name} with account ${serviceAccount}`,
      );
    }
    return ok({ namespace, serviceAccount, podName: name, podUid: workloadUid({ namespace, name }), expiresAtMs });
  };
}

interface Wish {
  readonly credentials: readonly Credential[];
  /** Nothing is missing from the list that is only misspelt in its file. */
  readonly isWhole: boolean;
  readonly rootsPem: string;
}

function serve(
  deps: SitePlatformDeps,
  membership: Membership,
  registryCopy: Platform["registryCopy"],
): Service & { readonly states: () => unknown } {
  const { source, config } = deps;
  const folders: CredentialDeps = {
    ...deps,
    key: deps.tokenKey,
    dataDir: config.dataDir,
    rootsPem: membership.rootsPem,
  };
  const keeper: Keeper<Wish> = createKeeper<Wish>({
    ...deps,
    name: "credentials",
    refreshMs: CREDENTIAL_CHECK_MS,
    write: (wish) => writeCredentials(wish, folders),
  });
  let wish: Wish | undefined;
  const want = () => {
    if (source.inputs() === undefined) return; // not read yet: whoever is missing from the list is not gone
    const credentials = [gatewayCredential(config, membership), ...workloadCredentials(deps, membership)];
    wish = share(wish, { credentials, isWhole: source.isWhole(), rootsPem: membership.rootsPem() });
    keeper.want(wish);
  };
  const leader = createSiteLeader({ ...deps, registryCopy, onSettled: want });
  source.onChange(want);
  const start = async () => {
    await writeCredential(gatewayCredential(config, membership), folders);
    want();
    return [keeper.task];
  };
  const problems = () => [...leader.problems(), ...keeper.problems()];
  return { leader: { ...leader, problems }, start, states: () => statesOf(source, leader) };
}

async function writeCredentials({ credentials, isWhole }: Wish, deps: CredentialDeps): Promise<void> {
  const gone = await dataFolderGone(deps.dataDir);
  if (gone !== undefined) throw gone;
  for (const credential of credentials) await writeCredential(credential, deps);
  if (isWhole) await removeOtherCredentials(credentials, deps.dataDir);
}

type Facts = Omit<CredentialFacts, "namespace" | "name" | "serviceAccount" | "sidecar">;

function memberFacts({ address, adsPort, region, zone }: SiteConfig, { cluster, fleetDomain }: Membership): Facts {
  return { cluster, fleetDomain, agent: { host: address, port: adsPort }, locality: { region, zone } };
}

function gatewayCredential(config: SiteConfig, membership: Membership): Credential {
  const facts = { ...memberFacts(config, membership), ...gatewayAccount };
  return { folder: gatewayFolder(config.dataDir), facts, user: "" };
}

function workloadCredentials({ source, config }: SitePlatformDeps, membership: Membership): readonly Credential[] {
  const declared = new Map(source.objects().records.Workload.map((each) => [`${each.namespace}/${each.name}`, each]));
  const { pods, services } = source.inputs() ?? nothing;
  return pods.map(({ namespace, name, serviceAccount, bound }) => {
    const { user = "", pid = 0 } = declared.get(`${namespace}/${name}`) ?? {};
    return {
      folder: workloadFolder(config.dataDir, { namespace, name }),
      facts: {
        ...memberFacts(config, membership),
        ...{ namespace, name, serviceAccount },
        ...(bound === undefined ? {} : { sidecar: sidecarFacts(bound) }),
        ...(pid === 0 ? {} : { registeredBy: pid }),
      },
      user,
      ...(bound === undefined ? {} : { hosts: hostsText(services, bound, namespace) }),
    };
  });
}

/** How well the workload is now is no fact to start a sidecar from. */
function sidecarFacts(bound: BoundInput): BoundInput {
  const { unready, ...facts } = bound;
  return unready === undefined ? bound : facts;
}

function statesOf(source: SiteSource, leader: ReturnType<typeof createSiteLeader>): unknown {
  const workloads = source
    .inputs()
    ?.pods.map(({ namespace, name, ready, ip }) => ({ namespace, name, ready, address: ip }));
  return { workloads, exports: leader.exports(), imports: leader.imports() };
}
