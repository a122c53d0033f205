//! A search tree over boxes.
//!
//! A node cuts one dimension at up to 15 places. A box lies in the part that holds it, or in two if a cut goes through it; boxes across more parts lie in
//! a tree of their own beside them, which cuts other dimensions. So no box has many copies, a change touches few nodes, and a packet follows one way
//! down, plus one for each node on it that has wide boxes of a lower order than what was found already. The last cut on a way lies in a leaf, beside the
//! boxes of all its parts: so that few cache lines have to come one after the other from memory.
//!
//! The tree is persistent: a copy costs nothing, a change copies the nodes on its way that others share.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::cell::{Cell, DIMENSIONS, Number, Point};

/// Boxes that are not cut.
const FEW: usize = 8;
/// Boxes of a part after a cut, about.
const PART: usize = 2;
/// Boxes of a leaf, copies included.
const FULL_LEAF: usize = 48;
/// Parts of a cut.
const PARTS: usize = 16;
/// Parts that may hold one box.
const MAX_COPIES: usize = 2;

/// The tree of one address family.
#[derive(Debug, Clone)]
pub(super) struct Tree<N>(Node<N>);

#[derive(Debug, Clone)]
enum Node<N> {
    Empty,
    Leaf(Arc<Leaf<N>>),
    Cut(Arc<Cut<N>>),
}

/// Where one dimension is cut.
#[derive(Debug, Clone)]
#[repr(C)]
struct Cuts<N> {
    /// Where each part but the first begins, rising; `N::MAX` behind the last one. One more than there can be: whole vectors are compared.
    starts: [N; PARTS],
    dimension: u8,
    last_part: u8,
}

/// Boxes of a few parts: those across several parts lie in each.
#[derive(Debug)]
#[repr(C, align(64))]
struct Leaf<N> {
    cuts: Cuts<N>,
    /// Where each part but the last ends among the cells.
    ends: [u8; PARTS],
    /// Part by part, the lowest order first.
    cells: Box<[Cell<N>]>,
}

// What every packet looks at is in the first cache lines, in this order.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Cut<N> {
    cuts: Cuts<N>,
    /// At most the lowest order among `across`.
    across_order: u64,
    across: Node<N>,
    parts: [Node<N>; PARTS],
    /// Boxes there were when the cuts were chosen, and changes since.
    chosen_for: u32,
    changes: u32,
}

/// What has been found so far: the cell of the lowest order.
type Found<'a, N> = Option<&'a Cell<N>>;

impl<N: Number> Tree<N> {
    pub(super) const fn new() -> Self {
        Self(Node::Empty)
    }

    /// A tree of all these boxes.
    pub(super) fn of(cells: Vec<Cell<N>>) -> Self {
        Self(Node::of(cells))
    }

    /// The cell of the lowest order that contains the point and satisfies `accept`.
    #[inline]
    pub(super) fn find(&self, point: &Point<N>, accept: impl Fn(&Cell<N>) -> bool + Copy) -> Found<'_, N> {
        self.0.find(point, None, accept)
    }

    pub(super) fn insert(&mut self, cell: &Cell<N>) {
        self.0.insert(cell);
    }

    pub(super) fn remove(&mut self, cell: &Cell<N>) {
        self.0.remove(cell);
    }
}

impl<N: Number> Node<N> {
    fn of(cells: Vec<Cell<N>>) -> Self {
        if cells.is_empty() {
            return Self::Empty;
        }
        let Some(choice) = Choice::best(&cells) else { return Self::Leaf(Arc::new(Leaf::uncut(cells))) };
        match Leaf::of(&choice, &cells) {
            Some(leaf) => Self::Leaf(Arc::new(leaf)),
            None => Self::Cut(Arc::new(choice.apply(cells))),
        }
    }

    #[inline]
    fn find<'a>(&'a self, point: &Point<N>, mut found: Found<'a, N>, accept: impl Fn(&Cell<N>) -> bool + Copy) -> Found<'a, N> {
        let mut node = self;
        loop {
            match node {
                Self::Empty => return found,
                Self::Leaf(leaf) => return search(leaf.part(point), point, found, accept),
                Self::Cut(cut) => {
                    let part = cut.part(point);
                    if matches!(cut.across, Self::Empty) {
                        node = part;
                        continue;
                    }
                    // Narrow boxes first: wide ones mostly stand behind them, and need no look then.
                    found = part.find_below(point, found, accept);
                    if found.is_some_and(|found| found.order <= cut.across_order) {
                        return found;
                    }
                    node = &cut.across;
                }
            }
        }
    }

    /// The same, out of line: the search calls itself.
    fn find_below<'a>(&'a self, point: &Point<N>, found: Found<'a, N>, accept: impl Fn(&Cell<N>) -> bool + Copy) -> Found<'a, N> {
        self.find(point, found, accept)
    }

    fn insert(&mut self, cell: &Cell<N>) {
        match self {
            Self::Empty => *self = Self::of(vec![cell.clone()]),
            Self::Leaf(_) => {
                let mut cells = self.cells();
                cells.push(cell.clone());
                // One that could not be cut is tried again when it has grown.
                let hopeless = cells.len() > FULL_LEAF && cells.len() % FULL_LEAF != 1;
                *self = if hopeless { Self::Leaf(Arc::new(Leaf::uncut(cells))) } else { Self::of(cells) };
            }
            Self::Cut(cut) => {
                let cut = Arc::make_mut(cut);
                match cut.copies(cell) {
                    Some(parts) => parts.iter_mut().for_each(|part| part.insert(cell)),
                    None => {
                        cut.across_order = cut.across_order.min(cell.order);
                        cut.across.insert(cell);
                    }
                }
                self.changed();
            }
        }
    }

    fn remove(&mut self, cell: &Cell<N>) {
        match self {
            Self::Empty => {}
            Self::Leaf(_) => {
                let mut cells = self.cells();
                cells.retain(|other| other.key() != cell.key());
                *self = Self::of(cells);
            }
            Self::Cut(cut) => {
                let cut = Arc::make_mut(cut);
                match cut.copies(cell) {
                    Some(parts) => parts.iter_mut().for_each(|part| part.remove(cell)),
                    None => cut.across.remove(cell),
                }
                self.changed();
            }
        }
    }

    /// Chooses anew where to cut, once there were as many changes as boxes: so the tree stays as flat as a new one, and a change costs little on average.
    fn changed(&mut self) {
        let Self::Cut(cut) = self else { return };
        let cut = Arc::make_mut(cut);
        cut.changes = cut.changes.saturating_add(1);
        if cut.changes > cut.chosen_for {
            *self = Self::of(self.cells());
        }
    }

    /// All boxes, the lowest order first, each once.
    fn cells(&self) -> Vec<Cell<N>> {
        let mut cells = Vec::new();
        self.collect(&mut cells);
        cells.sort_unstable_by_key(Cell::key);
        cells.dedup_by_key(|cell| cell.key());
        cells
    }

    fn collect(&self, into: &mut Vec<Cell<N>>) {
        match self {
            Self::Empty => {}
            Self::Leaf(leaf) => into.extend(leaf.cells.iter().cloned()),
            Self::Cut(cut) => cut.parts.iter().chain([&cut.across]).for_each(|node| node.collect(into)),
        }
    }
}

/// The first cell that contains the point, if it comes before what was found already.
#[inline]
fn search<'a, N: Number>(
    cells: &'a [Cell<N>],
    point: &Point<N>,
    found: Found<'a, N>,
    accept: impl Fn(&Cell<N>) -> bool + Copy,
) -> Found<'a, N> {
    let end = found.map_or(u64::MAX, |found| found.order);
    let first = cells.iter().take_while(|cell| cell.order < end).find(|cell| cell.contains(point) && accept(cell));
    first.or(found)
}

impl<N: Number> Cuts<N> {
    fn new(choice: &Choice<N>) -> Self {
        let mut starts = [N::MAX; PARTS];
        starts.iter_mut().zip(&choice.starts).for_each(|(to, from)| *to = *from);
        let (dimension, last_part) = (u8::try_from(choice.dimension).unwrap_or(0), u8::try_from(choice.starts.len()).unwrap_or(0));
        Self { starts, dimension, last_part }
    }

    /// The part of a packet.
    #[inline]
    fn part(&self, point: &Point<N>) -> usize {
        self.index(point.get(usize::from(self.dimension)).copied().unwrap_or(N::MAX))
    }

    /// The part of a value. All starts are counted, without a branch.
    #[inline]
    fn index(&self, value: N) -> usize {
        let begun = self.starts.iter().map(|start| u32::from(*start <= value)).sum::<u32>();
        begun.min(u32::from(self.last_part)) as usize
    }

    /// The parts of a box.
    fn parts(&self, cell: &Cell<N>) -> RangeInclusive<usize> {
        let dimension = usize::from(self.dimension);
        self.index(cell.first(dimension))..=self.index(cell.last(dimension))
    }
}

impl<N: Number> Leaf<N> {
    /// Boxes that nothing tells apart, or few.
    fn uncut(mut cells: Vec<Cell<N>>) -> Self {
        cells.sort_unstable_by_key(Cell::key);
        let cuts = Cuts { starts: [N::MAX; PARTS], dimension: 0, last_part: 0 };
        Self { cuts, ends: [0; PARTS], cells: cells.into() }
    }

    /// The boxes of each part beside each other, where they are few enough.
    fn of(choice: &Choice<N>, cells: &[Cell<N>]) -> Option<Self> {
        if cells.len() > FULL_LEAF {
            return None;
        }
        let cuts = Cuts::new(choice);
        let mut parts: [Vec<&Cell<N>>; PARTS] = Default::default();
        for cell in cells {
            parts.get_mut(cuts.parts(cell))?.iter_mut().for_each(|part| part.push(cell));
        }
        if parts.iter().any(|part| part.len() > FEW) || parts.iter().map(Vec::len).sum::<usize>() > FULL_LEAF {
            return None;
        }
        let (mut ends, mut together) = ([0; PARTS], Vec::new());
        for (part, end) in parts.iter_mut().zip(&mut ends) {
            part.sort_unstable_by_key(|cell| cell.key());
            together.extend(part.iter().copied().cloned());
            *end = u8::try_from(together.len()).ok()?;
        }
        Some(Self { cuts, ends, cells: together.into() })
    }

    #[inline]
    fn part(&self, point: &Point<N>) -> &[Cell<N>] {
        if self.cuts.last_part == 0 {
            return &self.cells;
        }
        let part = self.cuts.part(point);
        let begin = part.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        // The last part may be longer than can be written there: many boxes that nothing tells apart.
        let last = part == usize::from(self.cuts.last_part);
        let end = if last { self.cells.len() } else { self.ends.get(part).copied().unwrap_or(0).into() };
        self.cells.get(usize::from(begin)..end).unwrap_or_default()
    }
}

impl<N: Number> Cut<N> {
    #[inline]
    fn part(&self, point: &Point<N>) -> &Node<N> {
        self.parts.get(self.cuts.part(point)).unwrap_or(&Node::Empty)
    }

    /// The parts that hold a box; `None` where they are too many.
    fn copies(&mut self, cell: &Cell<N>) -> Option<&mut [Node<N>]> {
        let parts = self.cuts.parts(cell);
        if parts.end() - parts.start() < MAX_COPIES { self.parts.get_mut(parts) } else { None }
    }
}

/// Where boxes might be cut.
struct Choice<N> {
    dimension: usize,
    starts: ArrayVec<N, { PARTS - 1 }>,
    /// Boxes that a packet meets, about.
    cost: f64,
}

impl<N: Number> Choice<N> {
    /// The best of all dimensions; `None` where boxes are few, or no cut makes them fewer.
    fn best(cells: &[Cell<N>]) -> Option<Self> {
        if cells.len() <= FEW {
            return None;
        }
        let choices = (0..DIMENSIONS).filter_map(|dimension| Self::of(dimension, cells));
        choices.min_by(|a, b| a.cost.total_cmp(&b.cost))
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn of(dimension: usize, cells: &[Cell<N>]) -> Option<Self> {
        let mut firsts: Vec<N> = cells.iter().map(|cell| cell.first(dimension)).collect();
        firsts.sort_unstable();
        let parts = (cells.len() / PART).clamp(2, PARTS);
        let mut starts = ArrayVec::new();
        for part in 1..parts {
            let start = *firsts.get(part * firsts.len() / parts)?;
            if Some(&start) > starts.last().or_else(|| firsts.first()) {
                starts.push(start);
            }
        }
        let (mut sizes, mut across) = ([0usize; PARTS], 0usize);
        for cell in cells {
            let part = |value: N| starts.partition_point(|start| *start <= value);
            let (first, last) = (part(cell.first(dimension)), part(cell.last(dimension)));
            match sizes.get_mut(first..=last) {
                Some(sizes) if sizes.len() <= MAX_COPIES => sizes.iter_mut().for_each(|size| *size += 1),
                _ => across += 1,
            }
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let square: usize = sizes.iter().map(|size| size * size).sum();
        // Divided by all, not by those that are held: so copies count against a cut.
        let cost = square as f64 / cells.len() as f64 + across as f64;
        // Both must be much fewer, so that the tree ends, and copies do not add up.
        let enough = cells.len() - cells.len() / 8;
        (largest < enough && across < enough && cost < enough as f64).then_some(Self { dimension, starts, cost })
    }

    fn apply(self, cells: Vec<Cell<N>>) -> Cut<N> {
        let mut cut = Cut {
            cuts: Cuts::new(&self),
            across_order: u64::MAX,
            across: Node::Empty,
            parts: [const { Node::Empty }; PARTS],
            chosen_for: u32::try_from(cells.len()).unwrap_or(u32::MAX),
            changes: 0,
        };
        let (mut parts, mut across): ([Vec<Cell<N>>; PARTS], Vec<Cell<N>>) = Default::default();
        for cell in cells {
            let copies = cut.cuts.parts(&cell);
            match parts.get_mut(copies) {
                Some(parts) if parts.len() <= MAX_COPIES => parts.iter_mut().for_each(|part| part.push(cell.clone())),
                _ => {
                    cut.across_order = cut.across_order.min(cell.order);
                    across.push(cell);
                }
            }
        }
        cut.across = Node::of(across);
        cut.parts = parts.map(Node::of);
        cut
    }
}
