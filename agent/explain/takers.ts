// Who takes the calls to a service port: the backends of the split in force, by what the translation divides. Called by verdicts
// (caller.ts) and by flows (flows.ts). Pure.
import type { MeshIr, SplitIr } from "../ir/types.ts";
import type { PortView } from "../xds/service-ports.ts";

export interface DividedPort {
  readonly split: SplitIr;
  /** Backends with a weight, in the translation's order. */
  readonly weights: ReadonlyMap<PortView, number>;
}

/** Undefined: no split is in force on this port. */
export function dividedPort(ir: MeshIr, { split, service, port }: PortView): DividedPort | undefined {
  const inForce = split && ir.splits.find(({ root }) => root === service.key);
  if (split === undefined || inForce === undefined) return undefined;
  const backends = inForce.ports.find((each) => each.port === port.port)?.backends ?? [];
  const weightOf = (view: PortView) => backends.find((each) => each.service === view.service.key)?.weight ?? 0;
  const weights = split.backends.map((view) => [view, weightOf(view)] as const).filter(([, weight]) => weight > 0);
  return { split: inForce, weights: new Map(weights) };
}
