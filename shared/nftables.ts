// The text of an nftables table of our own, for `nft -f`: made anew in one transaction, whatever an earlier run has left of it. Pure.

/** A set of ports. Throws on what is none: nothing else may get into a text that is run with the right to change the network. */
export function portSet(ports: readonly number[]): string {
  const sorted = [...new Set(ports)].sort((a, b) => a - b);
  if (sorted.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535)) throw new Error("not a port");
  return `{ ${sorted.join(", ")} }`;
}

export type Hook =
  "type nat hook output" | "type nat hook prerouting" | "type filter hook output" | "type filter hook input";

const priorities = { nat: -100, filter: 0 } as const;

/** A chain that the kernel enters by itself; what no rule of it decides passes. */
export function baseChain(name: string, hook: Hook, rules: readonly string[]): readonly string[] {
  const priority = priorities[hook.includes(" nat ") ? "nat" : "filter"];
  return chain(name, [`${hook} priority ${priority}; policy accept;`, ...rules]);
}

/** A chain that a rule must jump to. */
export function chain(name: string, rules: readonly string[]): readonly string[] {
  return [`  chain ${name} {`, ...rules.map((line) => `    ${line}`), "  }"];
}

/** Of family inet: IPv6 like IPv4. */
export function inetTable(name: string, chains: readonly (readonly string[])[]): string {
  const text = [
    `add table inet ${name}`,
    `delete table inet ${name}`,
    `table inet ${name} {`,
    ...chains.flat(),
    "}",
    "",
  ];
  return text.join("\n");
}
