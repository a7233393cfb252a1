// What the propagation bench writes, and how an ACK tells which write it carries. Pure; read by propagation.ts.
// A step is a state of one EndpointSlice; east sees it as (ready pods, missing pods), which the weights of its EDS tell.

/** How many of the slice's endpoints are ready, and how many are listed. */
export interface SliceState {
  readonly ready: number;
  readonly total: number;
}

export interface Step {
  readonly state: SliceState;
  /** "open": 0 to 1 endpoint; "close": 1 to 0; each is confirmed by a request. "weight": everything else. */
  readonly kind: "open" | "close" | "weight";
}

/** Distinct pods that the slice lists at most. */
export const podCount = 5;
const PHASE = 10;

const state = (ready: number, total: number): SliceState => ({ ready, total });

/** Ten steps with endpoints to call, from one to one; no state but the ends occurs twice. */
const open = [
  state(1, 1),
  state(2, 2),
  state(3, 4),
  state(4, 4),
  state(2, 5),
  state(5, 5),
  state(1, 3),
  state(3, 5),
  state(4, 5),
  state(1, 1),
];
/** Ten steps with nothing to call, from no endpoint to no endpoint: the weight is that of pods that are not ready. */
const empty = [0, 1, 2, 3, 4, 5, 1, 2, 3, 0].map((total) => state(0, total));
/** The same from one endpoint that is not ready to itself: Envoy sees a change of health, and no host come or go. */
const unready = [1, 2, 3, 4, 5, 2, 3, 4, 5, 1].map((total) => state(0, total));

const phases = [empty, open, unready, open];

/** The state before the first step, which closes. */
export const stateBefore = state(1, 1);

/** Every tenth change opens or closes; those between them are weights. */
export function planSteps(count: number): readonly Step[] {
  return Array.from({ length: count }, (_, index) => {
    const phase = phases[Math.floor(index / PHASE) % phases.length] ?? open;
    const at = index % PHASE;
    return { state: phase[at] ?? stateBefore, kind: at > 0 ? "weight" : phase === open ? "open" : "close" };
  });
}

/** An EDS resource as /debug/acks shows it: proto3 JSON. */
export interface Assignment {
  readonly endpoints?: readonly {
    readonly lb_endpoints?: readonly {
      readonly endpoint?: { readonly address?: { readonly socket_address?: { readonly address?: string } } };
      readonly health_status?: string;
      readonly load_balancing_weight?: number;
    }[];
  }[];
}

export interface EdsScale {
  readonly weightPerPod: number;
  /** Stands for the pods that are not ready while others are; the bench's service has one exporter. */
  readonly phantomAddress: string;
}

/** The state that an assignment tells. Gateways share a member's weight, so their sum is that of its pods. */
export function stateOf({ endpoints = [] }: Assignment, scale: EdsScale): SliceState {
  const hosts = endpoints.flatMap((locality) => locality.lb_endpoints ?? []);
  const pods = (wanted: (host: (typeof hosts)[number]) => boolean) =>
    Math.round(
      hosts.filter(wanted).reduce((sum, host) => sum + (host.load_balancing_weight ?? 0), 0) / scale.weightPerPod,
    );
  const ready = pods((host) => host.health_status === "HEALTHY");
  const isPhantom = (host: (typeof hosts)[number]) =>
    host.endpoint?.address?.socket_address?.address === scale.phantomAddress;
  const missing = pods((host) => host.health_status !== "HEALTHY" && (ready === 0 || isPhantom(host)));
  return state(ready, ready + missing);
}

export interface Written {
  readonly state: SliceState;
  readonly sentAtMs: number;
  /** When the API server's answer arrived. */
  readonly answeredAtMs: number;
}

export interface Acked {
  readonly state: SliceState;
  readonly atMs: number;
}

/**
 * For every write, how long until an ACK that carries it or a later one: what is skipped was overtaken, and counts until
 * the overtaking arrived. An ACK is taken for the earliest write it can be, so a doubt makes the figure worse, never better.
 * undefined: no ACK has confirmed the write.
 */
export function delaysMs(writes: readonly Written[], acks: readonly Acked[]): readonly (number | undefined)[] {
  const delays: (number | undefined)[] = writes.map(() => undefined);
  let next = 0;
  for (const ack of acks) {
    const found = writes.findIndex(
      (write, index) => index >= next && write.sentAtMs <= ack.atMs && isSame(write.state, ack.state),
    );
    if (found < 0) continue; // the state of before, sent once more
    for (; next <= found; next += 1) {
      const write = writes[next];
      // the change may arrive before the API server's answer does: then nothing was waited for
      if (write !== undefined) delays[next] = Math.max(0, ack.atMs - write.answeredAtMs);
    }
  }
  return delays;
}

export function isSame(a: SliceState, b: SliceState): boolean {
  return a.ready === b.ready && a.total === b.total;
}
