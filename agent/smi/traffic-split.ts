// TrafficSplit v1alpha1 (weights are quantities), v1alpha2 (whole numbers), v1alpha3 and v1alpha4 (and matches).
import { fieldOf, isObject, sameValue, type JsonObject } from "../kube/json.ts";
import { err, ok, type Problem, type Result } from "../../shared/result.ts";
import { versionCode, type Conversion, type Converted } from "./conversion.ts";
import { isNothing, listOf, mapOf, without } from "./fields.ts";
import type { Kept } from "./kept.ts";
import { nanosOf, wholeNumbers } from "./quantity.ts";

/** All weights of a split together must fit Envoy's 32 bits. */
export const MAX_WEIGHT = 1_000_000_000;

export const trafficSplitConversion: Conversion = {
  up: (version, from) => {
    if (version === "v1alpha3") return ok(from);
    const whole = version === "v1alpha1" ? weightsUp(from) : ok(from);
    return whole.ok ? ok(withMatches(whole.value)) : whole;
  },
  down: (version, from) => {
    if (version === "v1alpha3") return from;
    const plain = withoutMatches(from);
    return version === "v1alpha1" ? weightsDown(plain) : plain;
  },
};

function withSpec(object: JsonObject, change: (spec: JsonObject) => JsonObject): JsonObject {
  const spec = object["spec"];
  return isObject(spec) ? { ...object, spec: change(spec) } : object;
}

function withMatches({ object, kept }: Converted): Converted {
  const { v1alpha4: newest, ...others } = kept;
  const matches = listOf(fieldOf(newest, "matches"));
  return { object: isNothing(matches) ? object : withSpec(object, (spec) => ({ ...spec, matches })), kept: others };
}

function withoutMatches({ object, kept }: Converted): Converted {
  const matches = fieldOf(object, "spec", "matches");
  const plain = withSpec(object, (spec) => without(spec, "matches"));
  return { object: plain, kept: isNothing(matches) ? kept : { ...kept, v1alpha4: { matches } } };
}

function weightsUp({ object, kept }: Converted): Result<Converted> {
  const written = weightsOf(object);
  const read = wholeWeights(written);
  if (!read.ok) return read;
  const spelt = written.every((weight, index) => weight === read.value[index]);
  const others: Kept = without(kept, "v1alpha1");
  return ok({
    object: withWeights(object, read.value),
    kept: spelt ? others : { ...others, v1alpha1: { weights: written } },
  });
}

/** As they were spelt, while that still means what the split says. */
function weightsDown({ object, kept }: Converted): Converted {
  const { v1alpha1: oldest, ...others } = kept;
  const spelt = listOf(fieldOf(oldest, "weights"));
  const read = wholeWeights(spelt);
  const stands = spelt.length > 0 && read.ok && sameValue(read.value, weightsOf(object));
  return { object: stands ? withWeights(object, spelt) : object, kept: others };
}

function weightsOf(object: JsonObject): readonly unknown[] {
  return listOf(fieldOf(object, "spec", "backends")).map((backend) => fieldOf(backend, "weight"));
}

function withWeights(object: JsonObject, weights: readonly unknown[]): JsonObject {
  return withSpec(object, (spec) => {
    if (!Array.isArray(spec["backends"])) return spec;
    const backends = listOf(spec["backends"]).map((backend, index) => {
      const weight = weights[index];
      return weight === undefined ? backend : { ...mapOf(backend), weight };
    });
    return { ...spec, backends };
  });
}

/** An absent weight stays absent: whoever reads the split says so. */
function wholeWeights(written: readonly unknown[]): Result<readonly (number | undefined)[]> {
  const problems: Problem[] = [];
  const nanos = written.map((weight, index) => {
    const value = weight === undefined || weight === null ? 0n : nanosOf(weight);
    if (value === undefined) problems.push(badWeight(index, "is no quantity such as 1, 0.5 or 500m"));
    return value ?? 0n;
  });
  const whole = wholeNumbers(nanos);
  whole.forEach((value, index) => {
    if (value > BigInt(MAX_WEIGHT))
      problems.push(badWeight(index, `is ${value} beside the others in whole numbers; at most ${MAX_WEIGHT} is taken`));
  });
  if (problems.length > 0) return err(problems);
  return ok(whole.map((value, index) => (isNothing(written[index]) ? undefined : Number(value))));
}

function badWeight(index: number, message: string): Problem {
  return { code: versionCode, message, field: `spec.backends[${index}].weight` };
}
