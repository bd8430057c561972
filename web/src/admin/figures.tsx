// Live figures, and the last hour as small curves. What was known stays on show when a refresh fails.

import { useQuery } from '@tanstack/react-query';
import { CURVE_MINUTES, FIGURES_EVERY } from './limits';
import { bytes, count, curve, duration, load } from './logic';
import { PanelHead } from './parts';
import { Failed } from './table';
import { api, type Figures, queries } from './wire';

interface Reading {
  readonly at: number;
  readonly cpu: number | null;
  /** Part of one core since the reading before. */
  readonly load: number | null;
  readonly figures: Figures;
}

const second = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

async function read(): Promise<Reading> {
  const before = queries.getQueryData<Reading>(['figures']);
  const figures = await api.adminStats<Figures>();
  const now = { at: Date.now(), cpu: figures.cpu_seconds };
  return { ...now, load: load(before, now), figures };
}

export function FiguresPanel() {
  const query = useQuery({ queryKey: ['figures'], queryFn: read, refetchInterval: FIGURES_EVERY, staleTime: 0 });
  const { data } = query;
  return (
    <>
      <PanelHead title="Live figures">
        <p className="panel-note">
          {data === undefined
            ? 'Loading…'
            : `As of ${second.format(data.at)}, refreshed every ${FIGURES_EVERY / 1000} seconds.`}
        </p>
      </PanelHead>
      {query.isError && <Failed error={query.error} onRetry={() => void query.refetch()} />}
      {data === undefined ? !query.isError && <Skeleton /> : <Shown reading={data} />}
    </>
  );
}

function Shown({ reading }: { readonly reading: Reading }) {
  const { figures } = reading;
  const { curves } = figures;
  return (
    <>
      <div className="figures">
        <Figure label="Messages this minute" value={count(figures.messages_this_minute)}>
          <Spark label="Messages per minute" values={curves.messages} />
        </Figure>
        <Figure label="Connections" value={count(figures.connections)}>
          <Spark label="Connections" values={curves.connections} />
        </Figure>
        <Figure label="People online" value={count(figures.people)}>
          <Spark label="People online" values={curves.people} />
        </Figure>
        <Figure label="Accounts" value={count(figures.users)} />
        <Figure label="Rooms and conversations" value={count(figures.rooms)} />
        <Figure label="Messages stored" value={count(figures.messages)} />
      </div>
      <h3 className="section-title">Server</h3>
      <dl className="facts">
        <Fact name="Version" value={figures.version} />
        <Fact name="Running for" value={duration(figures.uptime_seconds)} />
        <Fact name="Memory in use" value={figures.memory_bytes === null ? null : bytes(figures.memory_bytes)} />
        <Fact name="Processor use" value={processor(reading)} />
        <Fact name="Open files and sockets" value={figures.open_files === null ? null : count(figures.open_files)} />
      </dl>
    </>
  );
}

function processor({ cpu, load: part }: Reading): string | null {
  if (cpu === null) return null;
  const total = `${duration(cpu)} in all`;
  return part === null ? total : `${Math.round(part * 100)} % of a core now, ${total}`;
}

function Fact({ name, value }: { readonly name: string; readonly value: string | null }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value ?? 'not told by this system'}</dd>
    </div>
  );
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly children?: React.ReactNode;
}

function Figure({ label, value, children }: FigureProps) {
  return (
    <section className="figure" aria-label={label}>
      <p className="figure-label">{label}</p>
      <p className="figure-value">{value}</p>
      {children}
    </section>
  );
}

const WIDTH = 240;
const HEIGHT = 40;

/** Drawn with attributes only. The bottom is 0 and the top the most, which is named below. */
function Spark({ label, values }: { readonly label: string; readonly values: readonly number[] }) {
  const drawn = curve(values, CURVE_MINUTES, WIDTH, HEIGHT);
  if (drawn.line === '') return <p className="figure-note">The curve begins after the first full minute.</p>;
  const words = `${label} in the last hour: ${count(drawn.least)} at least, ${count(drawn.most)} at most`;
  return (
    <>
      <svg
        className="spark"
        viewBox={`0 -2 ${WIDTH} ${HEIGHT + 3}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={words}
      >
        <path className="spark-area" d={drawn.area} />
        <path className="spark-line" d={drawn.line} fill="none" vectorEffect="non-scaling-stroke" />
      </svg>
      <p className="figure-note" aria-hidden="true">
        <span>last hour</span>
        <span>at most {count(drawn.most)}</span>
      </p>
    </>
  );
}

const SIX = [1, 2, 3, 4, 5, 6];

function Skeleton() {
  return (
    <div className="figures" role="status" aria-label="Loading">
      {SIX.map((box) => (
        <div key={box} className="skeleton figure-skeleton" />
      ))}
    </div>
  );
}
