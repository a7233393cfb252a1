import fc from "fast-check";
import { expect, test } from "vitest";
import { buildIr } from "./build.ts";
import { selectExports } from "./exports.ts";
import { selectImports } from "./imports.ts";
import type { MeshInputs } from "./inputs.ts";
import { anyInputs, shuffled } from "./testing/arbitrary.ts";
import { aBinding, aLargeMesh, aPod, someInputs } from "./testing/objects.ts";

/** A mixture of two meshes: what a few changed, added and deleted objects leave behind. */
function mixed(a: MeshInputs, b: MeshInputs, pick: number): MeshInputs {
  const fields = Object.keys(a) as (keyof MeshInputs)[];
  const chosen = fields.filter((_, index) => (pick >> index) % 2 === 1).map((field) => [field, b[field]]);
  return { ...a, ...(Object.fromEntries(chosen) as Partial<MeshInputs>) };
}

test("the order of the inputs does not matter", () => {
  fc.assert(
    fc.property(
      anyInputs.chain((inputs) => fc.tuple(fc.constant(inputs), shuffled(inputs))),
      ([inputs, other]) => {
        expect(buildIr(other)).toEqual(buildIr(inputs));
        expect(selectExports(other)).toEqual(selectExports(inputs));
        expect(selectImports(other)).toEqual(selectImports(inputs));
      },
    ),
    { numRuns: 300 },
  );
});

test("what is remembered from earlier builds never changes the result", () => {
  fc.assert(
    fc.property(anyInputs, anyInputs, fc.array(fc.nat({ max: (1 << 17) - 1 }), { maxLength: 4 }), (a, b, picks) => {
      let previous = buildIr(a).ir;
      for (const inputs of picks.map((pick) => mixed(a, b, pick))) {
        const next = buildIr(inputs, previous);
        expect(next).toEqual(buildIr(structuredClone(inputs)));
        expect(selectExports(inputs)).toEqual(selectExports(structuredClone(inputs)));
        previous = next.ir;
      }
    }),
    { numRuns: 300 },
  );
});

test("inputs read again from the API server give the very same IR object", () => {
  fc.assert(
    fc.property(anyInputs, (inputs) => {
      const first = buildIr(inputs);
      expect(buildIr(structuredClone(inputs), first.ir).ir).toBe(first.ir);
    }),
    { numRuns: 200 },
  );
});

test("one changed slice changes its service, its import and its export port, and nothing else", () => {
  const before = aLargeMesh(50, 4);
  const first = buildIr(before).ir;
  const slices = before.slices.map((slice, index) =>
    index === 10 ? { ...slice, endpoints: slice.endpoints.map((endpoint) => ({ ...endpoint, ready: false })) } : slice,
  );
  const second = buildIr({ ...before, slices }, first).ir;
  const changed = second.services.filter((service, index) => service !== first.services[index]);
  expect(changed.map((service) => service.key)).toEqual(["cluster/shop/svc-10", "fleet/shop/svc-10"]);
  expect(second.exportPorts.filter((port, index) => port !== first.exportPorts[index])).toHaveLength(1);
  expect(second.workloads).toBe(first.workloads);
  expect(second.grants).toBe(first.grants);
  expect(second.peers).toBe(first.peers);
});

test("a workload that binds other addresses is another workload, and no other is", () => {
  const bound = aBinding();
  const pods = ["cart-1", "cart-2"].map((name) => aPod({ name, uid: name, bound }));
  const inputs = someInputs({ pods });
  const first = buildIr(inputs).ir;
  const moved = pods.map((pod) => (pod.name === "cart-2" ? { ...pod, bound: aBinding({ lowestPort: 1 }) } : pod));
  const second = buildIr({ ...inputs, pods: moved }, first).ir;
  expect(second.workloads[0]).toBe(first.workloads[0]);
  expect(second.workloads[1]).toEqual({ ...first.workloads[1], bound: aBinding({ lowestPort: 1 }) });
});

test("a gateway that listens elsewhere, or where its pod does again, is a change", () => {
  const bound = someInputs({ gatewayBind: { host: "127.0.0.1", port: 25443 } });
  const first = buildIr(bound).ir;
  expect(first.gatewayBind).toEqual({ host: "127.0.0.1", port: 25443 });
  expect(buildIr(someInputs(), first).ir).not.toHaveProperty("gatewayBind");
});

test("a change of one slice among 1,000 services costs a small part of a whole build", () => {
  const inputs = aLargeMesh(1000, 10);
  let { ir } = buildIr(inputs);
  let slices = inputs.slices;
  const costs: number[] = [];
  for (let round = 0; round < 60; round++) {
    slices = slices.map((slice, index) => {
      return index === round ? { ...slice, endpoints: slice.endpoints.slice(round % 2) } : slice;
    });
    const started = performance.now();
    ir = buildIr({ ...inputs, slices }, ir).ir;
    costs.push(performance.now() - started);
  }
  const again = structuredClone(inputs);
  const started = performance.now();
  buildIr(again);
  const wholeMs = performance.now() - started;
  // a ratio, as the machine may be busy; the times themselves belong to the benches
  expect(costs.sort((a, b) => a - b)[30]).toBeLessThan(wholeMs / 2);
});
