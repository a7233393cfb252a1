// What a member is made of: its configuration, its levels and its parts. Types, and the two names that its own accounts have.
import type { Clock } from "../shared/clock.ts";
import type { Log } from "../shared/log.ts";
import type { SigningPool } from "../shared/pki/signing-pool.ts";
import type { AdminSurface } from "./admin-http.ts";
import type { FailingWorkloads } from "./failing-workloads.ts";
import type { CutOff } from "./hub/cut-off.ts";
import type { Publisher } from "./hub/publisher.ts";
import type { RemoteRegistry } from "./hub/remote-registry.ts";
import type { HubState } from "./hub/session.ts";
import type { AgentCredential } from "./identity/agent-credential.ts";
import type { HeldCertificates } from "./identity/certificate-ages.ts";
import type { IdentityStore, JoinedIdentity } from "./identity/identity-state.ts";
import type { SvidIssuer } from "./identity/svid-issuer.ts";
import type { Mesh, Settled } from "./mesh.ts";
import type { MeshSources } from "./mesh-inputs.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { Leader, Platform, Service } from "./platform.ts";

/** In the agent's own namespace, as its chart and every site name them. */
export const AGENT_ACCOUNT = "isthmus-agent";
export const GATEWAY_ACCOUNT = "isthmus-gateway";

export interface MemberConfig {
  /** Namespace of the agent's and the gateway's accounts. */
  readonly namespace: string;
  /** This replica, as it shows in the fleet's status. */
  readonly podName: string;
  readonly version: string;
  /** `host:port` */
  readonly adsListen: string;
  readonly svidTtlMs: number;
  readonly permissive: boolean;
  /** Whether workloads may call what is no service of the mesh. */
  readonly egress: boolean;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
  /** Members whose policy is copied here; `*`: every member's. */
  readonly policyFrom: readonly string[];
  readonly region: string;
  readonly zone: string;
  /** Where the token was that it came by, and where one is looked for once it has left. Undefined: nowhere. */
  readonly tokenFile: string | undefined;
}

export interface MemberDeps {
  readonly config: MemberConfig;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly store: IdentityStore;
  readonly metrics: AgentMetrics;
  readonly surface: AdminSurface;
}

/** The levels that change while the member lives; everything else is made once. */
export interface Levels {
  hub: HubState;
  cutOff: CutOff;
  /** Of this clock against the hub's, as last told. */
  skewMs: number;
  leads: () => boolean;
  settled: Settled | undefined;
  adsOpen: boolean;
}

export interface Member {
  readonly deps: MemberDeps;
  readonly identity: JoinedIdentity;
  readonly levels: Levels;
  readonly credential: AgentCredential;
  readonly pool: SigningPool;
  readonly issuer: SvidIssuer;
  readonly remote: RemoteRegistry;
  readonly publisher: Publisher;
  readonly leader: Leader;
  readonly service: Service;
  readonly mesh: Mesh;
  readonly sources: MeshSources;
  readonly failing: FailingWorkloads;
  readonly heldCertificates: HeldCertificates;
  /** Ends the program with a fault of ours. */
  readonly fault: PromiseWithResolvers<never>;
  readonly statusListeners: Set<() => void>;
}
