// What scripts/bench compares with: a receiver of callbacks as one writes it with Fastify and pg, one insert and so one
// commit for each request. `node server.mjs PORT DATABASE_URL PROCESSES`: the bench tries one and two, and takes the better.
import cluster from 'node:cluster';
import { createHash } from 'node:crypto';

import Fastify from 'fastify';
import pg from 'pg';

const APP = '1400000001';
const OK = '{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}';
const [port, connectionString, processes = '1'] = process.argv.slice(2);

const INSERT = `
  insert into events (id, sdk_app_id, family, command, event_time, received_at,
      call_id, room_id, operator, client_ip, platform, payload)
  values ($1, $2, $3, $4,
      timestamptz 'epoch' + $5::bigint * interval '1 millisecond',
      timestamptz 'epoch' + $6::bigint * interval '1 millisecond',
      $7, $8, $9, $10, $11, $12)
  on conflict do nothing`;

// The event's time in ms, then SHA-256 of the body.
function idOf(eventTime, body) {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(eventTime, 0, 6);
  createHash('sha256').update(body).digest().copy(bytes, 6, 0, 10);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

async function serve() {
  const pool = new pg.Pool({ connectionString, min: 16, max: 16 });
  await Promise.all(Array.from({ length: 16 }, () => pool.query('select 1')));
  const fastify = Fastify();
  // The body is kept as it came, so it is read as text and parsed here.
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  fastify.post('/', async (request, reply) => {
    const { query, body } = request;
    if (query.SdkAppid !== APP) {
      return reply.code(400).send();
    }
    const event = JSON.parse(body);
    const command = event.CallbackCommand ?? 'unknown';
    const receivedAt = Date.now();
    const eventTime = Number.isInteger(event.EventTime) ? event.EventTime : receivedAt;
    await pool.query({
      name: 'insert',
      text: INSERT,
      values: [
        idOf(eventTime, body),
        query.SdkAppid,
        command.split('.')[0].toLowerCase(),
        command,
        eventTime,
        receivedAt,
        event.CallInfo?.CallId ?? event.CallRecord?.CallId ?? event.CallId,
        event.RoomId ?? event.CallInfo?.RoomId ?? event.CallRecord?.RoomId ?? event.RoomInfo?.RoomId ?? event.GroupId,
        event.Operator_Account ?? event.CallRecord?.Caller_Account ?? event.From_Account,
        query.ClientIP,
        query.OptPlatform,
        body,
      ],
    });
    return reply.type('application/json').send(OK);
  });
  await fastify.listen({ host: '127.0.0.1', port: Number(port) });
  console.log('ready');
}

if (cluster.isPrimary && Number(processes) > 1) {
  for (let started = 0; started < Number(processes); started += 1) {
    cluster.fork();
  }
} else {
  await serve();
}
