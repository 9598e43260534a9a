// An authenticated read, and the creation of a call, as usually built on Node.js: Express with its
// middleware, and mongoose. It reads the accounts of Switchboard's api from the same MongoDB and
// accepts the same tokens.
//
//     PORT=... MONGODB_URI=... JWT_ACCESS_SECRET=... node rest.mjs
//
// One process per core, as under a process manager, because a single process would leave the other
// cores idle.
import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import compression from "compression";
import cors from "cors";
import express from "express";
import helmet from "helmet";
import jwt from "jsonwebtoken";
import mongoose from "mongoose";
import { connect, createCall } from "./records.mjs";

const { PORT: port, MONGODB_URI: uri, JWT_ACCESS_SECRET: secret } = process.env;
if (!port || !uri || !secret) throw new Error("set PORT, MONGODB_URI and JWT_ACCESS_SECRET");

const ALL_LISTENING = "all workers listen";
if (cluster.isPrimary) startWorkers();
else await serve();

function startWorkers() {
  const workers = Array.from({ length: availableParallelism() }, () => cluster.fork());
  let listening = 0;
  cluster.on("listening", () => {
    if (++listening === workers.length) workers.forEach((worker) => worker.send(ALL_LISTENING));
  });
  // A comparison with one worker less would be invalid.
  cluster.on("exit", () => process.exit(1));
}

async function serve() {
  await connect(uri);
  const fields = { name: String, email: String, password: { type: String, select: false }, avatar: String };
  // The api has created the indexes.
  const User = mongoose.model("User", new mongoose.Schema(fields, { timestamps: true, autoIndex: false }));

  const app = express();
  app.use(helmet(), cors({ origin: `http://localhost:${port}`, credentials: true }), compression(), express.json());

  // Ready only when all workers listen, because earlier connections would all go to the first
  // worker.
  let allListening = false;
  process.on("message", (message) => (allListening ||= message === ALL_LISTENING));
  app.get("/ready", (_, response) => response.sendStatus(allListening ? 200 : 503));

  app.get("/api/auth/profile", authenticate, async (request, response) => {
    const user = await User.findById(request.claims.userId);
    if (!user) return refuse(response, 404, "User not found");
    response.json({ success: true, message: "Profile", data: user });
  });
  app.post("/api/video-calls", authenticate, async (request, response) => {
    const { roomId } = await createCall(request.claims.userId, request.body);
    response.status(201).json({ success: true, message: "Call created", data: { roomId } });
  });
  app.use((_, response) => refuse(response, 404, "Route not found"));
  app.use((error, _request, response, _next) => refuse(response, 500, error.name));
  app.listen(Number(port), "127.0.0.1");
}

function authenticate(request, response, next) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") return refuse(response, 401, "Missing bearer token");
  try {
    const options = { algorithms: ["HS256"], issuer: "videocall-api", audience: "videocall-client" };
    request.claims = jwt.verify(token, secret, options);
  } catch {
    return refuse(response, 401, "Invalid token");
  }
  next();
}

function refuse(response, status, message) {
  response.status(status).json({ success: false, message });
}
