import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { askOperator, operatorSocketName } from "./operator-client.ts";

it("keeps no connection: the hub would end an idle one just as the next call takes it", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "isthmus-operator-"));
  let connections = 0;
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers.connection);
    response.end("{}");
  }).on("connection", () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(join(dataDir, operatorSocketName), resolve));
  await askOperator(dataDir, { method: "GET", path: "/v1/status" });
  await askOperator(dataDir, { method: "GET", path: "/v1/status" });
  expect(connections).toBe(2);
  expect(asked).toEqual(["close", "close"]);
  await new Promise((resolve) => server.close(resolve));
  await rm(dataDir, { recursive: true });
});
