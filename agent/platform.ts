// What a member lives on: a Kubernetes cluster or a site's machine. The one seam under the life of a member (member.ts):
// whatever differs between the two is behind it, and nothing above it asks which one it is.
import type { ClusterName, FleetDomain } from "../shared/ids.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { GatewayAddress } from "../shared/registry.ts";
import type { Problem, Result } from "../shared/result.ts";
import type { AdsIdentity } from "./ads/peer.ts";
import type { RegistryCopy } from "./hub/registry-copy.ts";
import type { RemoteState } from "./hub/remote-registry.ts";
import type { MeshInputs } from "./ir/inputs.ts";
import type { Settled } from "./mesh.ts";

/** What buildIr takes from the platform; the fleet's part comes from the hub and the configuration. */
export type PlatformInputs = Omit<
  MeshInputs,
  | "fleetDomain"
  | "cluster"
  | "systemNamespace"
  | "permissive"
  | "egress"
  | "remote"
  | "ownGateways"
  | "ownLocality"
  | "policyFrom"
  | "revokedTrustDomains"
  | "foreignFleets"
>;

export interface Platform {
  /** An array is the same as last time when none of its members changed. */
  readonly inputs: () => PlatformInputs;
  /** The first complete reading of everything is done; nothing is deleted before. */
  readonly synced: () => boolean;
  /** What is waited for until then, for readiness and the log. */
  readonly awaited: string;
  /** Told when inputs, synced or gateways may be others. */
  readonly onChange: (listener: () => void) => () => void;
  /** Of every object that could not be read. */
  readonly problems: () => readonly Problem[];
  /** A problem of the mesh as its author finds the object: a site adds file and line. */
  readonly located: (problem: Problem) => Problem;
  /** How far each source is, for debugging. */
  readonly states: () => unknown;
  /** Where other members reach this one's gateways. */
  readonly gateways: () => readonly GatewayAddress[];
  /** Other members' gateways on loopback are believed: all of them run on this machine. */
  readonly allowLoopback: boolean;
  /** Copies of other members' policy are objects of an API server, and its watch brings them; else they are added in memory. */
  readonly storesCopies: boolean;
  readonly registryCopy: RegistryCopy;
  /** Who sent this token? Throws when that cannot be asked now: no verdict on the token. */
  readonly authenticate: (token: string) => Promise<Result<AdsIdentity>>;
  /** Runs `lead` in one process of the member at a time, whenever it is this one's turn, until the signal aborts. */
  readonly elect: (lead: Lead, signal: AbortSignal) => Promise<void>;
  /** Called once, as soon as the member's credentials are open. */
  readonly serve: (membership: Membership) => Service;
}

export type Lead = (signal: AbortSignal, leads: () => boolean) => Promise<void>;

export interface Membership {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** The fleet's roots as they are now. */
  readonly rootsPem: () => string;
}

/** What the platform does for a member. */
export interface Service {
  readonly leader: Leader;
  /** What runs in every replica, leader or not. Sidecars can start once it has resolved and ADS is open. */
  readonly start: () => Promise<readonly Task[]>;
}

/** What the hub is known to hold of ours, and whether that is its present word. */
export interface HubView {
  readonly connected: boolean;
  readonly acknowledged: ReadonlySet<string>;
  /** What it does not take, as problems of our objects. */
  readonly refused: readonly Problem[];
}

/** What one replica does for all. Told by every replica of what should be; only the leader's tasks act on it. */
export interface Leader {
  readonly tasks: readonly Task[];
  /** After every push, and after an answer of the hub. */
  settled(settled: Settled, hub: HubView): void;
  remote(state: RemoteState): void;
  problems(): readonly Problem[];
}
