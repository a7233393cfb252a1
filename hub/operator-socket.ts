// The socket in the data folder on which a hub takes operators' words, and by which a second hub on the same folder is noticed.
import { rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { UserError } from "../shared/errors.ts";
import { listenHttp, type HttpListener } from "./api/admin-http.ts";
import type { operatorApp } from "./api/operator-api.ts";

/** Mode 0600 from the first moment: the socket's file is the access control. */
export async function listenOperator(app: ReturnType<typeof operatorApp>, socketPath: string): Promise<HttpListener> {
  await rm(socketPath, { force: true });
  const before = process.umask(0o177);
  try {
    return await listenHttp(app, socketPath);
  } finally {
    process.umask(before);
  }
}

/** Two hubs on one data folder would fight over the embedded Redis and the socket. */
export async function refuseSecondHub(socketPath: string): Promise<void> {
  const answers = await new Promise<boolean>((resolve) => {
    const socket = createConnection(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
  if (answers) {
    throw new UserError("ISTHMUS_HUB_RUNNING", `a hub already runs on ${socketPath}`, {
      hint: "stop it first, or use another data folder",
    });
  }
}
