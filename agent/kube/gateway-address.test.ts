import { describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import type { GatewayAddress } from "../../shared/registry.ts";
import { watchGatewayAddresses, type ResolveHost } from "./gateway-address.ts";
import type { GatewayServiceRecord } from "./parse/gateway-service.ts";

/** The two things of a Kube that are looked at. */
function fakeKube() {
  const listeners = new Set<(kinds: ReadonlySet<string>) => void>();
  let records: readonly GatewayServiceRecord[] = [];
  return {
    kube: {
      clock: systemClock,
      stores: { gateway: { records: () => records } },
      onChange: (listener: (kinds: ReadonlySet<string>) => void) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    set: (hosts: readonly string[]) => {
      records = [{ namespace: "isthmus-system", name: "isthmus-gateway", hosts, port: 15443 }];
      for (const listener of listeners) listener(new Set(["GatewayService"]));
    },
  };
}

async function seen(
  configured: readonly GatewayAddress[],
  resolve: ResolveHost,
  steps: readonly (readonly string[])[],
): Promise<readonly (readonly string[])[]> {
  const { kube, set } = fakeKube();
  const told: string[][] = [];
  const onChange = (addresses: readonly GatewayAddress[]) =>
    told.push(addresses.map(({ host, port }) => `${host}:${port}`));
  const { task } = watchGatewayAddresses(kube, { configured, onChange, resolve });
  const abort = new AbortController();
  const done = runTasks(abort.signal, [task]);
  for (const hosts of [...steps, ...(configured.length > 0 ? [[]] : [])]) {
    set(hosts);
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resume) => setImmediate(resume));
  }
  abort.abort();
  await done;
  return told;
}

const noNames: ResolveHost = () => Promise.reject(new Error("no such host"));

describe("the addresses of the gateways", () => {
  it("are those of the load balancer, sorted, told only when they change", async () => {
    const steps = [["198.18.0.9", "198.18.0.7"], ["198.18.0.7", "198.18.0.9"], ["198.18.0.7"]];
    expect(await seen([], noNames, steps)).toEqual([["198.18.0.7:15443", "198.18.0.9:15443"], ["198.18.0.7:15443"]]);
  });

  it("are the configured ones where there are any", async () => {
    expect(await seen([{ host: "203.0.113.5", port: 443 }], noNames, [["198.18.0.7"]])).toEqual([["203.0.113.5:443"]]);
  });

  it("keep what a name last meant while it cannot be resolved", async () => {
    let asked = 0;
    const resolve: ResolveHost = () => {
      asked += 1;
      return asked === 1 ? Promise.resolve(["198.18.0.7"]) : Promise.reject(new Error("DNS is away"));
    };
    expect(await seen([], resolve, [["lb.example.org"], ["lb.example.org"]])).toEqual([["198.18.0.7:15443"]]);
    expect(asked).toBeGreaterThan(1);
  });
});
