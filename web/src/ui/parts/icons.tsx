// The icons, drawn on a 16 by 16 grid with one stroke. Decoration only: whatever holds one carries the name.

const PATHS = {
  back: 'M10 3 5 8l5 5',
  close: 'm4 4 8 8M12 4l-8 8',
  people:
    'M6 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM1.8 13c.3-2.3 2-3.5 4.2-3.5s3.900 1.200 4.200 3.500M10.500 3.300a2.300 2.300 0 0 1 0 4.400M12 9.800c1.300.5 2 1.600 2.200 3.200',
  reply: 'M6.500 4 3 7.500 6.500 11M3 7.500h6.500A3.500 3.500 0 0 1 13 11v1.500',
  edit: 'm10.500 3.500 2 2L6 12l-2.500.500L4 10ZM9 5l2 2',
  trash: 'M3 4.500h10M6.500 4.500V3h3v1.500M4.500 4.500l.500 8.500h6l.500-8.500M7 7v3.500M9 7v3.500',
  plus: 'M8 3v10M3 8h10',
  search: 'M7 11.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9ZM10.500 10.500 14 14',
  settings:
    'M2.500 4.500h6M11.500 4.500h2M10 6a1.500 1.500 0 1 0 0-3 1.500 1.500 0 0 0 0 3ZM2.500 11.500h2M7.500 11.500h6M6 13a1.500 1.500 0 1 0 0-3 1.500 1.500 0 0 0 0 3Z',
  lock: 'M4 7.500h8v5.500H4ZM5.500 7.500V5.500a2.500 2.500 0 0 1 5 0v2',
  hash: 'M6.500 3 5 13M11 3 9.500 13M3 6h10.500M2.500 10H13',
  down: 'M8 3v9M4 8.500 8 12.500l4-4',
  send: 'M2.500 3 14 8 2.500 13l1.500-5ZM4 8h5',
  copy: 'M5.500 5.500h7.500v7.500H5.500ZM3 10.500V3h7.500',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

/** Online is a full dot, offline a ring: a shape as well as a colour. */
export function Presence({ online }: { readonly online: boolean }) {
  return (
    <span className={online ? 'presence online' : 'presence'}>
      <span className="visually-hidden">{online ? 'online' : 'offline'}</span>
    </span>
  );
}
