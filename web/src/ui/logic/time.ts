// Local dates and times. Formatters are made once: making one costs more than using it a thousand times.

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const exactFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const fullDayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dayYearFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const shortFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const dateTimeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const clock = (at: number): string => timeFormat.format(at);
export const exact = (at: number): string => exactFormat.format(at);
export const exactDay = (at: number): string => fullDayFormat.format(at);
export const dateTime = (at: number): string => dateTimeFormat.format(at);

/** A number for the local day, the same for all its times. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

/** The first millisecond of the next local day; right also where a day has 23 or 25 hours. */
export function nextMidnight(at: number): number {
  const date = new Date(at);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
}

function yesterdayOf(now: number): number {
  const date = new Date(now);
  return dayOf(new Date(date.getFullYear(), date.getMonth(), date.getDate() - 1).getTime());
}

/** What a day line says. */
export function dayLabel(at: number, now: number): string {
  const day = dayOf(at);
  if (day === dayOf(now)) return 'Today';
  if (day === yesterdayOf(now)) return 'Yesterday';
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? dayFormat.format(at) : dayYearFormat.format(at);
}

/** "14:02" today, "yesterday 14:02", else the day and the time. */
export function since(at: number, now: number): string {
  const day = dayOf(at);
  if (day === dayOf(now)) return clock(at);
  if (day === yesterdayOf(now)) return `yesterday ${clock(at)}`;
  return `${shortFormat.format(at)}, ${clock(at)}`;
}

/** When somebody was last here. */
export function lastSeen(at: number, now: number): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 2) return 'a moment ago';
  if (minutes < 60) return `${minutes} minutes ago`;
  return since(at, now);
}
