// Every bound and every time of the client, each with its reason. Times are milliseconds unless the name says else.

// What the server allows; replaced by what its `hello` says.
export const MESSAGE_CHARS = 4_000;
export const FRAME_BYTES = 65_536;
export const SERVER_ROOMS = 500;

// Connection.
/** First step of the back-off; full jitter makes the wait anything from 0 to the step. */
export const BACKOFF_FIRST_MS = 1_000;
/** Longest step: a person who sees the banner should not wait longer than this. */
export const BACKOFF_CAP_MS = 30_000;
/** A connection that lived this long was a good one: the next loss starts from the first step again. */
export const STABLE_MS = 10_000;
/** From opening to `hello`; a proxy that accepts and then says nothing must not hold us. */
export const HELLO_TIMEOUT_MS = 15_000;
/** After so much silence we ask with a ping: the server's own pings can't be seen from a page. */
export const PING_AFTER_MS = 25_000;
/** No frame for so long after asking: the socket is dead, although nothing has said so. */
export const DEAD_AFTER_MS = 40_000;
/** The same after the page was shown again or the network came back, when a dead socket is likely. */
export const DEAD_AFTER_WAKE_MS = 10_000;
/** A browser may be wrong about being offline (a server on this machine), so it is tried now and then. */
export const OFFLINE_RETRY_MS = 30_000;
/** Shortest wait after a close code that says "later" without a `bye`. */
export const LATER_MS = 5_000;
/** Longest `delay` that is believed: an hour. */
export const DELAY_CAP_MS = 3_600_000;
export const HTTP_TIMEOUT_MS = 30_000;
/** A request on the socket is given up (and a send repeated) after this; the server decides within 5 s. */
export const REQUEST_TIMEOUT_MS = 20_000;

// Rooms.
/** Rooms joined by themselves, the most recent first; others are joined when opened. */
export const AUTO_JOIN_ROOMS = 200;
/** Joins under way at one time, so that a start with many rooms is no burst. */
export const JOINS_AT_ONCE = 16;
/** Messages asked for when a viewed room is joined for the first time; 50 is the server's most. */
export const FIRST_PAGE = 50;
/** Messages per page of history. */
export const HISTORY_PAGE = 50;
/** Messages kept in a room that is or was lately viewed. */
export const ROOM_WINDOW = 1_000;
/** The newest messages are never evicted below this: digest and unread counts are made from them. */
export const TAIL_KEEP = 200;
/** Messages kept in a room that is not viewed and not among the `FULL_ROOMS` viewed last. */
export const BACKGROUND_WINDOW = 100;
/** Trimming starts this far above a window, so that it does not run for every message. */
export const TRIM_SLACK = 50;
export const FULL_ROOMS = 60;
/** Edits, deletions and late messages remembered for messages that are not held but may be on their way. */
export const ORPHANS = 256;
/** Names of present people kept per room; the server names at most 100. */
export const PRESENT_NAMES = 200;
export const TYPING_NAMES = 50;
/** An unread count stops here: 100 means 100 or more. */
export const UNREAD_CAP = 100;
/** The overlap of a resume, from protocol.md section 5. */
export const SPAN_MS = 30_000;

// Outbox and drafts.
/** Messages that wait or failed, over all rooms. */
export const OUTBOX_MAX = 500;
/** After this the server has forgotten the nonce, so a retry could be a second message. */
export const OUTBOX_MAX_AGE_MS = 20 * 3_600_000;
/** Steps between attempts when the server gives no `retry_after`. */
export const RETRY_FIRST_MS = 1_000;
export const RETRY_CAP_MS = 30_000;
/** Drafts kept; the oldest are forgotten first. */
export const DRAFTS_MAX = 200;
export const DRAFT_SAVE_MS = 500;

// Pace of small frames.
/** A `typing` frame at most so often, from protocol.md section 3. */
export const TYPING_EVERY_MS = 3_000;
export const TYPING_SHOWN_MS = 6_000;
export const READ_EVERY_MS = 1_000;
/** Wait before the list of rooms is fetched anew, so that many reasons make one request. */
export const REFRESH_SOON_MS = 500;
