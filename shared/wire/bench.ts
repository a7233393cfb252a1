// What the next bytes of an assignment cost after one of N endpoints changed, against a copy of those bytes. Run by benches.
import { encodeJson, encodeResource } from "../wire.ts";
import type { JsonMessage } from "./json.ts";

const type = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

export interface EncodeFigures {
  readonly endpoints: number;
  readonly bytes: number;
  /** Median microseconds. */
  readonly changeUs: number;
  /** The same when the translator makes new objects for every endpoint. */
  readonly rebuiltUs: number;
  readonly wholeUs: number;
  readonly copyUs: number;
}

function endpoint(index: number, weight: number): JsonMessage {
  const address = `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
  return {
    endpoint: {
      address: { socket_address: { address, port_value: 8080 } },
      hostname: "p8080.cart.shop.east.west.sni.acme.mesh",
    },
    health_status: "HEALTHY",
    load_balancing_weight: weight,
  };
}

export async function measureEncode(endpoints: number, rounds = 300): Promise<EncodeFigures> {
  const objects = Array.from({ length: endpoints }, (_, index) => endpoint(index, 60));
  const assignment = (list: readonly JsonMessage[]) => ({ cluster_name: "cart", endpoints: [{ lb_endpoints: list }] });
  let current = assignment(objects);
  let { bytes } = encodeResource(type, current);
  const change: number[] = [];
  const rebuilt: number[] = [];
  const whole: number[] = [];
  const copy: number[] = [];
  const timed = (into: number[], work: () => void) => {
    const start = performance.now();
    work();
    into.push((performance.now() - start) * 1000);
  };
  for (let round = 1; round <= rounds; round += 1) {
    // a turn of the event loop, as between two pushes: weak references keep their targets until then
    await new Promise((resolve) => setImmediate(resolve));
    objects[(round * 7919) % endpoints] = endpoint((round * 7919) % endpoints, 60 + round);
    const next = assignment([...objects]);
    timed(change, () => ({ bytes } = encodeResource(type, next, bytes)));
    current = next;
    const fresh = assignment(objects.map((one) => structuredClone(one)));
    timed(rebuilt, () => void encodeResource(type, fresh, bytes));
    timed(whole, () => void encodeJson(type, current));
    timed(copy, () => void Buffer.from(bytes));
  }
  const median = (figures: number[]) => figures.sort((a, b) => a - b)[figures.length >> 1] ?? 0;
  const figures = {
    changeUs: median(change),
    rebuiltUs: median(rebuilt),
    wholeUs: median(whole),
    copyUs: median(copy),
  };
  return { endpoints, bytes: bytes.length, ...figures };
}
