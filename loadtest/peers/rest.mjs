// An authenticated read as it is usually built on Node.js: Express, its middlewares and mongoose. It reads the accounts of Switchboard's
// api in the same MongoDB, for the same tokens.
//
//   PORT=... MONGODB_URI=... JWT_ACCESS_SECRET=... node rest.mjs
//
// A process for each core, as a process manager would run it: one alone would leave the others idle.
import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import compression from "compression";
import cors from "cors";
import express from "express";
import helmet from "helmet";
import jwt from "jsonwebtoken";
import mongoose from "mongoose";

const { PORT: port, MONGODB_URI: uri, JWT_ACCESS_SECRET: secret } = process.env;
if (!port || !uri || !secret) throw new Error("PORT, MONGODB_URI and JWT_ACCESS_SECRET are needed");

const WHOLE = "every worker listens";
if (cluster.isPrimary) lead();
else await serve();

function lead() {
  const workers = Array.from({ length: availableParallelism() }, () => cluster.fork());
  let listening = 0;
  cluster.on("listening", () => {
    if (++listening === workers.length) workers.forEach((worker) => worker.send(WHOLE));
  });
  // With a worker less there is nothing to compare.
  cluster.on("exit", () => process.exit(1));
}

async function serve() {
  await mongoose.connect(uri);
  const fields = { name: String, email: String, password: { type: String, select: false }, avatar: String };
  // The api has made the indexes.
  const User = mongoose.model("User", new mongoose.Schema(fields, { timestamps: true, autoIndex: false }));

  const app = express();
  app.use(helmet(), cors({ origin: `http://localhost:${port}`, credentials: true }), compression(), express.json());

  // Ready when connections find all workers: those that come before would all go to the first.
  let whole = false;
  process.on("message", (message) => (whole ||= message === WHOLE));
  app.get("/ready", (_, response) => response.sendStatus(whole ? 200 : 503));

  app.get("/api/auth/profile", signedIn, async (request, response) => {
    const user = await User.findById(request.claims.userId);
    if (!user) return refuse(response, 404, "There is no such user");
    response.json({ success: true, message: "Profile", data: user });
  });
  app.use((_, response) => refuse(response, 404, "There is no such route"));
  app.use((error, _request, response, _next) => refuse(response, 500, error.name));
  app.listen(Number(port), "127.0.0.1");
}

function signedIn(request, response, next) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") return refuse(response, 401, "A token is needed");
  try {
    const terms = { algorithms: ["HS256"], issuer: "videocall-api", audience: "videocall-client" };
    request.claims = jwt.verify(token, secret, terms);
  } catch {
    return refuse(response, 401, "The token is not good");
  }
  next();
}

function refuse(response, status, message) {
  response.status(status).json({ success: false, message });
}
