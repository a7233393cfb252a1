// Kubernetes quantities as SMI's first TrafficSplit writes its weights: `1`, `500m`, `0.25`, `1e3`, `2Ki`. Read exactly, as
// whole billionths: a ratio must not depend on how a processor rounds.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

const NANO = 1_000_000_000n;
const form = /^\+?(\d{1,20})?(?:\.(\d{0,20}))?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d{1,2})?$/;
const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binary: Readonly<Record<string, bigint>> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n };

/** In billionths; undefined when it is no quantity, is negative, or is finer than a billionth. */
export function nanosOf(quantity: unknown): bigint | undefined {
  const [, whole = "", fraction = "", suffix = ""] = form.exec(textOf(quantity)) ?? [];
  const digits = `${whole}${fraction}`;
  if (digits === "") return undefined;
  const shift = binary[suffix];
  const exponent = (shift === undefined ? exponentOf(suffix) : 0) + 9 - fraction.length;
  const value = BigInt(digits) << (shift ?? 0n);
  if (exponent >= 0) return value * 10n ** BigInt(exponent);
  const divisor = 10n ** BigInt(-exponent);
  return value % divisor === 0n ? value / divisor : undefined;
}

function textOf(quantity: unknown): string {
  return typeof quantity === "number" || typeof quantity === "string" ? String(quantity) : "";
}

function exponentOf(suffix: string): number {
  return suffix === "" ? 0 : (decimal[suffix] ?? Number(suffix.slice(1)));
}

/** Whole numbers in the ratio of the quantities: themselves where all are whole, else all in thousandths (millionths, …). */
export function wholeNumbers(nanos: readonly bigint[]): readonly bigint[] {
  const units = [NANO, 1_000_000n, 1_000n, 1n];
  const unit = units.find((each) => nanos.every((value) => value % each === 0n)) ?? 1n;
  return nanos.map((value) => value / unit);
}
