// Cuts a byte stream into lines. A watch is one JSON object per line; a line may span many chunks and a chunk may hold
// many lines. Bytes, not text: a chunk may end inside a UTF-8 character.

export interface LineCutter {
  /** The lines that this chunk completes. */
  push(chunk: Buffer): readonly string[];
}

export function cutLines(): LineCutter {
  let pending: Buffer[] = [];
  return {
    push: (chunk) => {
      const lines: string[] = [];
      let start = 0;
      for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
        pending.push(chunk.subarray(start, end));
        lines.push(Buffer.concat(pending).toString("utf8"));
        pending = [];
        start = end + 1;
      }
      if (start < chunk.length) pending.push(chunk.subarray(start));
      return lines.filter((line) => line !== "");
    },
  };
}
