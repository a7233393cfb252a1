// RE2 text for "one DNS label, but none of these". RE2 has no look-ahead, so the text follows the letters of the names: at each
// one it either leaves them by a letter that no name has there, or ends where no name ends. Pure; used by tls.ts.

const anyLetters = "[a-z0-9-]*";
const alphabet = Array.from("abcdefghijklmnopqrstuvwxyz0123456789");

interface Node {
  readonly next: Map<string, Node>;
  ends: boolean;
}

function treeOf(words: readonly string[]): Node {
  const root: Node = { next: new Map(), ends: false };
  for (const word of words) {
    let at = root;
    for (const letter of word) {
      const known = at.next.get(letter) ?? { next: new Map<string, Node>(), ends: false };
      at.next.set(letter, known);
      at = known;
    }
    at.ends = true;
  }
  return root;
}

/** `-` last, where a class takes it as itself. */
function othersThan({ next }: Node): string {
  const others = alphabet.filter((letter) => !next.has(letter));
  return `[${others.join("")}${next.has("-") ? "" : "-"}]${anyLetters}`;
}

/** What may follow the letters that led to `node`. */
function followersOf(node: Node, isRoot: boolean): string {
  const ways = [...node.next].map(([letter, child]) => `${letter}${followersOf(child, false)}`);
  // a label has at least one letter
  const end = node.ends || isRoot ? [] : [""];
  return `(?:${[...ways, othersThan(node), ...end].join("|")})`;
}

/** Matches, in full, every label of `a-z0-9-` that is not in `words`. */
export function labelExcept(words: readonly string[]): string {
  return words.length === 0 ? "[a-z0-9-]+" : followersOf(treeOf(words), true);
}
