// The plan of a redirect that leads nowhere: for tests of what is made and taken away.
import type { RedirectPlan } from "../rules.ts";

export function planOf(blockStart: string): Omit<RedirectPlan, "table" | "group"> {
  const redirect = { address: blockStart, port: 15_002, range: `${blockStart}/16` };
  return {
    sidecar: { applications: [], inboundAddresses: [blockStart], blockStart, redirect },
    agent: { uid: 0, address: "127.0.0.1" },
    dns: { port: 15_053, portV6: undefined },
  };
}
