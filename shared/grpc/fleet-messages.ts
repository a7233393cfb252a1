// Shapes of the messages of shared/proto/fleet.proto as the codec gives and takes them: camelCase, uint64 as number,
// bytes as Uint8Array, a oneof as its virtual field plus the member that is set.
// Plain types only; fleet-codec.ts makes them, and nothing here is validated yet: fromWire (record-wire.ts) does that.

export interface JoinRequest {
  readonly tokenId: string;
  readonly tokenSecret: Uint8Array;
  readonly agentCsrDer: Uint8Array;
  readonly clusterCaCsrDer: Uint8Array;
  readonly agentVersion: string;
}

export interface JoinReply {
  readonly cluster: string;
  readonly fleetDomain: string;
  readonly agentChainDer: readonly Uint8Array[];
  readonly clusterCaChainDer: readonly Uint8Array[];
  readonly bundle: TrustBundle | null;
  readonly accepted: boolean;
}

export interface RenewRequest {
  readonly agentCsrDer: Uint8Array;
  readonly clusterCaCsrDer: Uint8Array;
}

export interface RenewReply {
  readonly agentChainDer: readonly Uint8Array[];
  readonly clusterCaChainDer: readonly Uint8Array[];
  readonly bundle: TrustBundle | null;
}

export type LeaveRequest = Readonly<Record<string, never>>;
export type LeaveReply = Readonly<Record<string, never>>;

export interface TrustBundle {
  readonly sequence: number;
  readonly rootsDer: readonly Uint8Array[];
  readonly signerSpkiDer: Uint8Array;
  readonly signature: Uint8Array;
  readonly fleetDomain: string;
  readonly revokedTrustDomains: readonly string[];
  readonly federated?: readonly { readonly fleetDomain: string; readonly rootsDer: readonly Uint8Array[] }[];
}

export interface PublishBatch {
  readonly session: string;
  readonly startedAtMs: number;
  readonly sequence: number;
  readonly puts: readonly WireRecord[];
  readonly deleteKeys: readonly string[];
  readonly synced: boolean;
}

export interface PublishAck {
  readonly sequence: number;
  readonly revision: number;
  readonly problems: readonly RecordProblem[];
}

export interface RecordProblem {
  readonly key: string;
  readonly code: string;
  readonly message: string;
}

export interface WatchRequest {
  readonly incarnation: string;
  readonly revision: number;
}

export interface SyncedMark {
  readonly incarnation: string;
  readonly revision: number;
}

/** `event` is undefined when a newer hub sends a kind this build does not know: skip it. */
export type WatchEvent =
  | { readonly event: "resync"; readonly resync: { readonly reason: string } }
  | { readonly event: "change"; readonly change: WireChange }
  | { readonly event: "synced"; readonly synced: SyncedMark }
  | { readonly event: "bookmark"; readonly bookmark: SyncedMark }
  | { readonly event: "bundle"; readonly bundle: TrustBundle }
  | { readonly event?: undefined };

export type WireChange =
  | { readonly revision: number; readonly op: "put"; readonly put: WireRecord }
  | { readonly revision: number; readonly op: "deleteKey"; readonly deleteKey: string }
  | { readonly revision: number; readonly op?: undefined };

export type WireRecord =
  | { readonly cluster: string; readonly kind: "service"; readonly service: WireService }
  | { readonly cluster: string; readonly kind: "capacity"; readonly capacity: WireCapacity }
  | { readonly cluster: string; readonly kind: "gateway"; readonly gateway: WireGateway }
  | { readonly cluster: string; readonly kind: "policy"; readonly policy: WirePolicy }
  | { readonly cluster: string; readonly kind?: undefined };

export interface WireService {
  readonly namespace: string;
  readonly name: string;
  readonly exportedAtMs: number;
  readonly type: string;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    readonly protocol: string;
    readonly appProtocol: string;
  }[];
  readonly serviceAccounts: readonly string[];
}

export interface WireCapacity {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly {
    readonly port: number;
    readonly ready: number;
    readonly total: number;
    readonly failing?: number;
  }[];
}

export interface WireGateway {
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly region: string;
  readonly zone: string;
}

export interface WirePolicy {
  readonly policyKind: string;
  readonly namespace: string;
  readonly name: string;
  readonly members: readonly string[];
  readonly manifest: string;
}

export interface StatusReport {
  readonly agentVersion: string;
  readonly pod: string;
  readonly bundleSequence: number;
  readonly appliedRevision: number;
  readonly proxies: number;
  readonly gatewaysReady: number;
  readonly servicesExported: number;
  readonly servicesImported: number;
  readonly clusterCaNotAfterMs: number;
  readonly agentNotAfterMs: number;
  readonly problems: readonly StatusProblem[];
  /** Absent: an agent that is older than rotations. */
  readonly trust?: TrustReport | null;
}

export interface TrustReport {
  readonly proxies: number;
  readonly unserved: readonly string[];
  readonly svidTtlMs: number;
  readonly roots: readonly RootUse[];
}

export interface RootUse {
  readonly root: string;
  readonly trustedBy: number;
  readonly usedBy: number;
  readonly provenBy: number;
  readonly agentCertificate: boolean;
  readonly clusterCa: boolean;
  readonly untrusting: readonly string[];
  readonly notUsing: readonly string[];
  readonly unproven: readonly string[];
}

export interface StatusProblem {
  readonly code: string;
  readonly object: string;
  readonly message: string;
  readonly sinceMs: number;
}

export interface ReportReply {
  readonly renewNow: boolean;
  readonly nowMs: number;
}
