// Order statistics of measured values, by the nearest-rank rule: every figure quoted is one that was observed.

export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new Error("no value was measured");
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}

export function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}
