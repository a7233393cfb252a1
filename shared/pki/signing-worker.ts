// A thread that performs signing batches, one per message. Started by signing-pool.ts; ends with it.
import { parentPort } from "node:worker_threads";
import { handedOver, perform, type Batch } from "./signing-batch.ts";

parentPort?.on("message", (batch: Batch) => {
  const answer = perform(batch);
  parentPort?.postMessage(answer, handedOver(answer));
});
