// Shapes of what the hub asks its members and what they answer (shared/proto/fleet.proto, rpc Answer): for `isthmus explain` and
// `isthmus policy try`. People read it; nothing that routes or trusts depends on it.
import type { StatusProblem } from "./fleet-messages.ts";

export interface HttpHeader {
  readonly name: string;
  readonly value: string;
}

export interface HttpCall {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly HttpHeader[];
}

/** What the caller's own sidecar makes of a call. */
export interface CallQuestion {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly targetNamespace: string;
  readonly targetName: string;
  /** "cluster", "fleet", or empty: the member's own Service where there is one, else the import. */
  readonly targetScope: string;
  /** 0: the only port, or 80. */
  readonly targetPort: number;
  /** A TrafficSplit may divide some requests only. */
  readonly http: HttpCall | null;
}

/** What the servers' sidecars of this member make of it. */
export interface ServeQuestion {
  /** The caller. */
  readonly cluster: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly targetNamespace: string;
  readonly targetName: string;
  readonly targetScope: string;
  readonly targetPort: number;
  /** Service accounts that the caller's sidecar may choose; empty: all. */
  readonly accounts: readonly string[];
  readonly http: HttpCall | null;
}

/** Which flows a change would allow or cut; nothing is applied. */
export interface TrialQuestion {
  /** Manifests, each as JSON. */
  readonly objectsJson: readonly string[];
  /** The objects are taken away instead. */
  readonly remove: boolean;
  /** "on", "off", or empty: as it is. */
  readonly permissive: string;
}

/** The same change, made in another member: what its copies would do here. Answered as a trial. */
export interface CopiesQuestion {
  /** The member in which the change is made. */
  readonly author: string;
  /** Manifests, each as JSON. */
  readonly objectsJson: readonly string[];
  /** The objects are taken away instead. */
  readonly remove: boolean;
}

export type Question =
  | { readonly question: "call"; readonly call: CallQuestion }
  | { readonly question: "serve"; readonly serve: ServeQuestion }
  | { readonly question: "trial"; readonly trial: TrialQuestion }
  | { readonly question: "copies"; readonly copies: CopiesQuestion }
  /** Of a newer hub. */
  | { readonly question?: undefined };

export type MemberQuestion = { readonly id: number } & Question;

export interface Finding {
  /** "allowed", "refused", "sent", "outside", "unserved"; empty in a message that has none. */
  readonly outcome: string;
  /** Stable, for programs: docs/smi.md lists them. */
  readonly why: string;
  readonly message: string;
  /** The deciding object, as `TrafficTarget shop/cart`; empty when it is one that is missing. */
  readonly object: string;
  readonly next: string;
  /** Of the server, as namespace/name. */
  readonly account: string;
}

export interface Backend {
  /** The service that answers: the target, or a backend of its TrafficSplit. */
  readonly namespace: string;
  readonly name: string;
  readonly scope: string;
  readonly member: string;
  /** Of the caller's own member; another's are its own to know. */
  readonly accounts: readonly string[];
  readonly ready: number;
  readonly total: number;
}

export interface CallAnswer {
  readonly finding: Finding | null;
  readonly sent: boolean;
  readonly scope: string;
  readonly port: number;
  readonly protocol: string;
  readonly backends: readonly Backend[];
}

export interface ServeAnswer {
  /** One for each account and port behind the service. */
  readonly findings: readonly Finding[];
  /** The path that the application is sent to (307); empty: none. */
  readonly path: string;
}

export interface FlowChange {
  readonly effect: string;
  readonly caller: string;
  readonly service: string;
  readonly account: string;
  readonly content: string;
  readonly by: string;
  readonly beside: string;
}

export interface TrialAnswer {
  readonly changes: readonly FlowChange[];
  /** Changes beyond those. */
  readonly more: number;
  readonly problems: readonly StatusProblem[];
}

export type AnswerContent =
  | { readonly answer: "call"; readonly call: CallAnswer }
  | { readonly answer: "serve"; readonly serve: ServeAnswer }
  | { readonly answer: "trial"; readonly trial: TrialAnswer }
  /** The member cannot say: it is not ready, or the question is of a newer hub. */
  | { readonly answer: "problem"; readonly problem: StatusProblem }
  | { readonly answer?: undefined };

export type MemberAnswer = { readonly id: number } & AnswerContent;
