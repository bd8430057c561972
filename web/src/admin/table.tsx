// Tables: sortable heads on wide pages, cards on narrow ones, a skeleton of the same shape before the rows are there.

import type { UseInfiniteQueryResult } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useMedia } from '../ui/parts/hooks';
import { explainAdmin, nextSorting, type Sorting, sorted } from './logic';

export interface Column<R> {
  readonly key: string;
  readonly head: string;
  readonly cell: (row: R) => ReactNode;
  /** What to sort by; columns without it can't be sorted. */
  readonly value?: (row: R) => string | number | null;
  readonly numeric?: boolean;
}

interface TableProps<R> {
  readonly caption: string;
  readonly columns: readonly Column<R>[];
  readonly rows: readonly R[];
  readonly rowKey: (row: R) => string;
  readonly actions?: (row: R) => ReactNode;
}

/** The first column is what a row is called. */
export function Table<R>({ caption, columns, rows, rowKey, actions }: TableProps<R>) {
  const narrow = useMedia('(max-width: 719px)');
  const [sorting, setSorting] = useState<Sorting | null>(null);
  const by = columns.find((column) => column.key === sorting?.key)?.value;
  const shown = sorting === null || by === undefined ? rows : sorted(rows, by, sorting.down);
  if (narrow) return <Cards {...{ caption, columns, rowKey, actions, rows: shown }} />;
  return (
    <table className="table">
      <caption className="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <Head
              key={column.key}
              column={column}
              sorting={sorting}
              onSort={() => setSorting(nextSorting(sorting, column.key))}
            />
          ))}
          {actions !== undefined && (
            <th scope="col">
              <span className="visually-hidden">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {shown.map((row) => (
          <tr key={rowKey(row)}>
            {columns.map((column, index) =>
              index === 0 ? (
                <th key={column.key} scope="row">
                  {column.cell(row)}
                </th>
              ) : (
                <td key={column.key} className={column.numeric ? 'numeric' : undefined}>
                  {column.cell(row)}
                </td>
              ),
            )}
            {actions !== undefined && <td className="table-actions">{actions(row)}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface HeadProps<R> {
  readonly column: Column<R>;
  readonly sorting: Sorting | null;
  readonly onSort: () => void;
}

function Head<R>({ column, sorting, onSort }: HeadProps<R>) {
  const mine = sorting?.key === column.key ? sorting : null;
  const className = column.numeric ? 'numeric' : undefined;
  if (column.value === undefined) {
    return (
      <th scope="col" className={className}>
        {column.head}
      </th>
    );
  }
  return (
    <th
      scope="col"
      className={className}
      aria-sort={mine === null ? undefined : mine.down ? 'descending' : 'ascending'}
    >
      <button type="button" className="table-sort" onClick={onSort}>
        {column.head}
        <span className="table-arrow" aria-hidden="true">
          {mine === null ? '' : mine.down ? '↓' : '↑'}
        </span>
      </button>
    </th>
  );
}

interface CardsProps<R> extends Omit<TableProps<R>, 'actions'> {
  readonly actions: ((row: R) => ReactNode) | undefined;
}

function Cards<R>({ caption, columns, rows, rowKey, actions }: CardsProps<R>) {
  const [title, ...rest] = columns;
  return (
    <ul className="cards" aria-label={caption}>
      {rows.map((row) => (
        <li key={rowKey(row)} className="card">
          <div className="card-head">
            <strong className="card-title">{title?.cell(row)}</strong>
            {actions?.(row)}
          </div>
          <dl className="card-facts">
            {rest.map((column) => (
              <div key={column.key}>
                <dt>{column.head}</dt>
                <dd>{column.cell(row)}</dd>
              </div>
            ))}
          </dl>
        </li>
      ))}
    </ul>
  );
}

interface PagedProps {
  readonly query: UseInfiniteQueryResult<unknown>;
  readonly rows: number;
  readonly empty: ReactNode;
  /** What the button that fetches the next page says. */
  readonly more: string;
  readonly children: ReactNode;
}

/** The states round a list that comes in pages: loading, failed, empty, filled, more to come. */
export function Paged({ query, rows, empty, more, children }: PagedProps) {
  if (query.isPending) return <RowsSkeleton />;
  return (
    <>
      {query.isError && <Failed error={query.error} onRetry={() => void query.refetch()} />}
      {rows > 0 ? children : !query.isError && <p className="empty-line">{empty}</p>}
      {query.hasNextPage && (
        <button
          type="button"
          className="button more"
          disabled={query.isFetchingNextPage}
          onClick={() => void query.fetchNextPage()}
        >
          {query.isFetchingNextPage ? 'Loading…' : more}
        </button>
      )}
    </>
  );
}

export function Failed({ error, onRetry }: { readonly error: unknown; readonly onRetry: () => void }) {
  return (
    <div className="problem" role="alert">
      <p>{explainAdmin(error)}</p>
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

const SKELETON_ROWS = [1, 2, 3, 4, 5, 6];

export function RowsSkeleton() {
  return (
    <div className="rows-skeleton" role="status" aria-label="Loading">
      {SKELETON_ROWS.map((row) => (
        <div key={row} className="skeleton-row">
          <span className="skeleton bar" />
          <span className="skeleton bar short" />
        </div>
      ))}
    </div>
  );
}
