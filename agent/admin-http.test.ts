import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAdminSurface, startAdminServer, type AdminSurface } from "./admin-http.ts";

let surface: AdminSurface;
let server: Server;

beforeEach(async () => {
  surface = createAdminSurface(new Registry());
  server = await startAdminServer(surface.views, 0, "127.0.0.1");
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

async function readyz(query = ""): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/readyz${query}`);
  return `${response.status} ${(await response.text()).trim()}`;
}

/** Longer than the test may take: whoever answers at once did not wait for it. */
const PATIENT = "?waitMs=60000";

describe("the question whether the agent is ready", () => {
  test("is answered at once with what is missing", async () => {
    surface.setMissing("waiting for the hub");
    expect(await readyz()).toBe("503 waiting for the hub");
  });

  test("of a patient asker is answered the moment the agent is ready", async () => {
    const asked = new Promise((resolve) => server.once("request", resolve));
    const answer = readyz(PATIENT);
    await asked;
    surface.setMissing(undefined);
    expect(await answer).toBe("200 ok");
  });

  test("is never held back once it was ready", async () => {
    surface.setMissing(undefined);
    surface.setMissing("the watch of Pods is stale");
    expect(await readyz(PATIENT)).toBe("503 the watch of Pods is stale");
  });

  test.each(["?waitMs=soon", "?waitMs=-1", "?waitMs=1"])(
    "is answered with no when the time is up: %s",
    async (query) => {
      expect(await readyz(query)).toMatch(/^503 /);
    },
  );
});
