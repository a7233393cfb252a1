// A fleet as the demo, the end-to-end table and benches see it, whatever its members are: Kubernetes clusters
// (joined/cluster-fleet.ts) or sites on this machine (sites/site-fleet.ts). What a user would write is the same manifests
// for both; what breaks a member has one name here and two meanings behind it.
import type { Caller } from "../traffic/caller.ts";
import type { Product } from "./product.ts";

export type Manifest = Readonly<Record<string, unknown>>;

/** The hub of the fleet with its embedded Redis. */
export interface HubUnderTest {
  readonly dataDir: string;
  /** Answers 200 to anybody while the hub is ready. It is no service of any member, and every member reaches it. */
  readonly readyUrl: string;
  /** kill -9: nothing of the hub gets to say goodbye. */
  kill(): Promise<void>;
  /** Starts it again and waits until it is ready. */
  start(): Promise<void>;
}

export interface Member {
  readonly name: string;
  /** kill -9 of every gateway at once. They come back by themselves. */
  killGateways(): Promise<void>;
  /** The same, and none comes back before `startGateways`, which waits until they are ready. */
  stopGateways(): Promise<void>;
  startGateways(): Promise<void>;
  /** kill -9 of every agent. */
  killAgents(): Promise<void>;
  /** Until the agents run again; a site's agent is started again here, as its service manager would. */
  agentsBack(): Promise<void>;
  /** What the member says to a person about one object that it does not accept; empty: nothing (yet). */
  complaints(namespace: string, kind: string, name: string): Promise<string>;
}

/** A namespace of its own in every member that it names, workloads in it, callers from it. */
export interface Scene {
  readonly namespace: string;
  /** For `workload()`; a site runs the same program from the checkout. */
  readonly image: string;
  apply(member: string, manifests: readonly Manifest[]): Promise<void>;
  /** `traffictarget/server`, of the scene's namespace or another. */
  remove(member: string, kindAndName: string, from?: string): Promise<void>;
  /** Until everything that was deployed in this member is ready. */
  ready(member: string): Promise<void>;
  /** kill -9 of every pod of a Deployment; none comes back before `startPods`. */
  stopPods(member: string, deployment: string): Promise<void>;
  startPods(member: string, deployment: string, replicas: number): Promise<void>;
  /** New pods in the place of the old ones. */
  restartPods(member: string, deployment: string): Promise<void>;
  /** Where the pods of a Deployment are reached inside their member. */
  podAddresses(member: string, deployment: string): Promise<readonly string[]>;
  /** What a Prometheus would read from the sidecar of the Deployment's first pod. */
  sidecarStats(member: string, deployment: string): Promise<string>;
  caller(member: string, deployment: string): Promise<Caller>;
  close(): Promise<void>;
}

export interface FleetStage {
  readonly members: readonly string[];
  readonly product: Product;
  readonly hub: HubUnderTest;
  member(name: string): Member;
  openScene(namespace: string, members: readonly string[]): Promise<Scene>;
  /** `b` is lost to `a` without a word: no packet is answered, no connection is closed. */
  blackhole(a: string, b: string): Promise<void>;
  heal(a: string, b: string): Promise<void>;
}
