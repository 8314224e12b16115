//! The same figures from files: the fallback where BPF cannot be had, and the rest beside it.

mod processes;
mod text;

use tepui_cgroup::{CgroupError, Leaf};

pub use processes::Former;
pub(crate) use processes::is_on_this_network;

use crate::decode::BlockUse;
use crate::sample::{Figure, MemoryLevels, Pressure, Sample, Source};

/// What files tell about a task. Files that this host does not have leave their figures absent.
/// `former` is what was told before of the same task.
///
/// # Errors
///
/// [`CgroupError`] when the group cannot be read at all.
pub fn read(leaf: &Leaf, former: &mut Former) -> Result<Sample, CgroupError> {
    let mut sample = Sample::default();
    read_cpu(leaf, &mut sample)?;
    let events = leaf.memory_events()?;
    let oom = events.as_ref().map(|events| events.oom_kill);
    sample.oom_kills = oom.map(Figure::of(Source::GroupFiles));
    let levels = events.as_ref().map(MemoryLevels::of);
    sample.memory_levels = levels.map(Figure::of(Source::GroupFiles));
    read_group(leaf, &mut sample);
    processes::read(leaf, former, &mut sample)?;
    Ok(sample)
}

fn read_cpu(leaf: &Leaf, sample: &mut Sample) -> Result<(), CgroupError> {
    let cpu = leaf.cpu()?;
    sample.cpu = Some(Figure::of(Source::GroupFiles)(cpu.total));
    sample.cpu_user = Some(Figure::of(Source::GroupFiles)(cpu.user));
    sample.cpu_system = Some(Figure::of(Source::GroupFiles)(cpu.system));
    sample.throttled = cpu.throttled.map(Figure::of(Source::GroupFiles));
    sample.throttled_periods = cpu.throttled_periods.map(Figure::of(Source::GroupFiles));
    Ok(())
}

fn read_group(leaf: &Leaf, sample: &mut Sample) {
    let file = |name: &str| std::fs::read_to_string(leaf.path().join(name)).ok();
    let cpu = file("cpu.stat").and_then(|cpu| text::keyed(&cpu, "nr_periods"));
    sample.periods = cpu.map(Figure::of(Source::GroupFiles));
    if let Some(memory) = file("memory.stat") {
        let swap = file("memory.swap.current").and_then(|swap| swap.trim().parse().ok());
        sample.memory = text::memory(&memory, swap).map(Figure::of(Source::GroupFiles));
        let count = |key| text::keyed(&memory, key).map(Figure::of(Source::GroupFiles));
        sample.page_faults = count("pgfault");
        sample.major_faults = count("pgmajfault");
    }
    let block: Option<BlockUse> = file("io.stat").map(|io| text::block(&io));
    sample.block = block.map(Figure::of(Source::GroupFiles));
    let pressure = |name: &str| -> Option<Figure<Pressure>> {
        file(name).and_then(|lines| text::pressure(&lines)).map(Figure::of(Source::GroupFiles))
    };
    sample.cpu_pressure = pressure("cpu.pressure");
    sample.memory_pressure = pressure("memory.pressure");
    sample.io_pressure = pressure("io.pressure");
}
