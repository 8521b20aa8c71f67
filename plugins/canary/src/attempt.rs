//! `--try`: a shift that ends by itself, kept by `promote` and dropped by `abort`.
//!
//! At every moment the cluster is in a state that is right or puts itself right: the Job is there before the
//! copies, and takes with it whatever it owns.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mesh_cli::dry_run::DryRun;
use mesh_cli::output::{self, Output};
use mesh_cli::text::{dim, plain, strong, warn};
use mesh_cli::{Exit, Failure, Ui};
use mesh_model::canary::attempt::{self, NoAttempt, Purpose, Running, Stale, Standing};
use mesh_model::canary::carrier::Carrier;
use mesh_model::canary::plan::{Moving, weights_only};
use mesh_model::canary::proof;
use mesh_model::change::{Change, Mismatch, Propagation, Reference};
use mesh_model::fuse::{self, Fuse};
use mesh_model::object::{Kind, Object};
use mesh_model::routing::{KINDS, Routing};
use mesh_model::world::World;
use mesh_source::cluster::{Connection, Writer};
use serde::Serialize;

use crate::apply::{Sink, send};
use crate::preflight;
use crate::shift::{Goal, Made, ShiftArgs, Shifted, Shifts, list, moved_route, weights};
use crate::subject::{Subject, because};

/// How long the job controller may take to see a Job.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the garbage collector may take.
const PATIENCE_FOR_THE_END: Duration = Duration::from_secs(60);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What there is of an attempt whose Job is deleted.
const NOTHING_LEFT: &str = "nothing is left of the attempt";

/// Where the rights stand that it takes.
const RIGHTS: &str = "docs/rbac/canary-try.yaml has the rights that --try takes, and canary.yaml those to change what is there";

/// An attempt, as programs see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempted {
    /// `running`, or `dropped`.
    state: &'static str,
    #[serde(flatten)]
    shifted: Shifted,
    /// The copies, as `NAMESPACE/NAME`.
    virtual_services: Vec<String>,
    /// The Job that they burn with, as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// When it ends, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// Reads how long an attempt lasts, in seconds: the deadline of a Job.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match duration.as_secs() {
        0 => Err("an attempt lasts a second at least".to_owned()),
        seconds if duration.subsec_nanos() > 0 || seconds > 30 * 24 * 3600 => {
            Err("write whole seconds, up to 30 days".to_owned())
        }
        seconds => Ok(seconds),
    }
}

/// Gives the canary a share for some time.
pub(crate) fn set(
    ui: &Ui,
    shift: &ShiftArgs,
    service: &str,
    percent: u32,
    seconds: u64,
) -> Result<Exit, Failure> {
    let sink = Sink::open(&shift.source)?;
    let Sink::Cluster { writer, connection } = &sink else {
        return Err(no_cluster());
    };
    let shifts = shift.shifts(ui, &sink);
    let loaded = shift.source.load_only(ui, &KINDS)?;
    let key = Subject::service(ui, &loaded.world, &loaded, service)?.object.key();
    // One that is under way makes room: the new copies take the places of its own.
    let running = attempt::running(&loaded.world, &key);
    let without = running.as_ref().map(|running| attempt::without(&loaded.world, running));
    let without = without.transpose().map_err(conflict)?;
    let world = without.as_ref().unwrap_or(&loaded.world);
    let routing = Routing::new(world);
    let Some(target) = world.services.iter().find(|service| service.object.key() == key) else {
        return Err(Failure::error(format!("there is no Service {key}")));
    };
    let subject = Subject::of(&routing, target)?;

    let named = shift.canary.as_deref().or(running.as_ref().map(|one| one.attempt.canary.as_str()));
    let (canary, choice) = subject.canary(named)?;
    let because = if shift.canary.is_none() && running.is_some() {
        "that of the attempt under way"
    } else {
        because(&choice)
    };
    ui.note(dim(format!("{} is the canary: {because}", canary.name)));
    let moving = shifts.moving(&subject, canary, percent, &shift.wanted())?;
    let patches = weights_only(&subject.carriers, &moving).map_err(conflict)?;
    if patches.is_empty() {
        let made = shift.tell(ui, Made::Already(key));
        if running.is_some() {
            ui.note("the attempt that is under way is as it was: abort ends it");
        }
        return made;
    }
    let refusals = preflight::unanswered(ui, &subject, &moving, &patches, shift.force)?;
    if !refusals.is_empty() {
        return shift.tell(ui, Made::Refused { service: key, refusals });
    }
    let purpose = Purpose { service: &target.object, canary: &canary.name, percent };
    let copies = match attempt::copies(&routing, &subject.carriers, &moving, purpose) {
        Ok(copies) => copies,
        Err(NoAttempt::Mismatch(mismatch)) => return Err(conflict(mismatch)),
        Err(why) => return refuse(ui, shift, key, &why),
    };
    let namespace = &target.object.namespace;
    may(writer, namespace, running.is_some())?;
    let job = fuse::job(&fuse::Order {
        namespace: namespace.clone(),
        name: attempt::job_name(&target.object.name, &id()),
        seconds,
        purpose: "canary".to_owned(),
        target: key.clone(),
        reason: shift.reason.clone(),
    });
    if shift.dry_run.dry_run != DryRun::None {
        show(&shifts, writer, running.as_ref(), copies, job, shift.dry_run.dry_run)?;
        return Ok(Exit::Yes);
    }

    let fire = Fire { ui, writer, quiet: shifts.how.quiet };
    let job = fire.light(job)?;
    let copies = fire.put(running.as_ref(), copies, &job)?;
    fire.check(&job, &copies, world)?;
    if let Some(running) = &running {
        fire.drop(running, &copies)?;
    }
    let mut answer = Attempted {
        state: "running",
        shifted: Shifted {
            service: key,
            canary: Some(canary.name.clone()),
            percent: Some(percent),
            routes: moving.iter().filter_map(|one| moved_route(&subject, one)).collect(),
            ..Shifted::default()
        },
        virtual_services: copies.iter().map(Object::key).collect(),
        job: Some(job.key()),
        until: Fuse::read(&job).and_then(|fuse| fuse.ends()).map(time),
    };
    if !shift.proof.is_skipped() {
        answer.shifted.proof = Some(prove(&shifts, connection, &subject, &moving, &patches)?);
    }
    tell(ui, shift, &answer)?;
    Ok(answer.shifted.exit())
}

/// Keeps an attempt that is under way. Where its time was up first, nothing is done: `promote` alone would give the
/// canary everything then.
pub(crate) fn keep(ui: &Ui, shift: &ShiftArgs, service: &str) -> Result<Exit, Failure> {
    let sink = Sink::open(&shift.source)?;
    if matches!(sink, Sink::Files) {
        return Err(no_cluster());
    }
    let loaded = shift.source.load_only(ui, &KINDS)?;
    let target = Subject::service(ui, &loaded.world, &loaded, service)?;
    let Some(standing) = attempt::standing(&loaded.world, target).map_err(conflict)? else {
        let text = format!(
            "no attempt of {} is under way: its time may be up; nothing was changed",
            target.object.key()
        );
        ui.answer(warn("refused: ") + plain(text))?;
        return Ok(Exit::No);
    };
    in_front(shift, &shift.shifts(ui, &sink), "promote", service, &standing)
}

fn no_cluster() -> Failure {
    Failure::usage("--try needs a cluster: nothing in manifests ends by itself")
}

/// What a command does while an attempt is in front of what it would change.
pub(crate) fn in_front(
    shift: &ShiftArgs,
    shifts: &Shifts<'_>,
    command: &str,
    service: &str,
    standing: &Standing,
) -> Result<Exit, Failure> {
    let Standing { running, stale } = standing;
    let Sink::Cluster { writer, .. } = shifts.sink else { return Err(no_cluster()) };
    let fire = Fire { ui: shifts.ui, writer, quiet: shifts.how.quiet };
    match command {
        "abort" => abort(shift, shifts, &fire, service, running),
        "promote" => promote(shift, shifts, &fire, service, running, stale.as_ref()),
        _ => Err(is_in_front(running)),
    }
}

/// That a shift would change what nobody goes by.
pub(crate) fn is_in_front(running: &Running) -> Failure {
    let attempt = &running.attempt;
    Failure::conflict(format!(
        "error: an attempt is under way: {} gets {} % of {} by VirtualService {}, which is in front of {}",
        attempt.canary,
        attempt.percent,
        attempt.service,
        names(&running.copies),
        attempt.of
    ))
    .hint("nothing was changed: keep it with promote --try, end it with abort, or change it with set --try")
}

/// Writes an attempt's weights where they stay, and only then ends it. Both are events of one kind of object, which
/// istiod gets in this order, so that the old weights never come back in between.
fn promote(
    shift: &ShiftArgs,
    shifts: &Shifts<'_>,
    fire: &Fire<'_>,
    service: &str,
    running: &Running,
    stale: Option<&Stale>,
) -> Result<Exit, Failure> {
    match stale {
        // An interrupted promote has written the weights already.
        None | Some(Stale::Refused(NoAttempt::Nothing)) => {}
        Some(stale) if shift.force => shifts.ui.warning(&stale.to_string()),
        Some(stale) => {
            return Err(Failure::conflict(format!("error: what was tried is not what would be kept: {stale}")).hint(
                "try it as it is now (set SERVICE WEIGHT --try), or keep the weights all the same with --force",
            ));
        }
    }
    let made = shifts.make(&shift.order("promote", service, Goal::Kept(running)))?;
    if matches!(made, Made::Refused { .. }) || shift.dry_run.dry_run != DryRun::None {
        return shift.tell(shifts.ui, made);
    }
    for (object, routes) in &running.attempt.routes {
        let found = fire.get(&virtual_service(object, running))?;
        for (pointer, moved) in routes {
            let now = found.as_ref().map(|found| weights(found, pointer, moved.to.len()));
            if now.as_ref() != Some(&moved.to) {
                let now = now.map_or_else(|| "gone".to_owned(), |now| list(&now));
                return Err(Failure::conflict(format!(
                    "error: the weights of VirtualService {object} {pointer} are {now} again, not {}",
                    list(&moved.to)
                ))
                .hint("somebody else writes it; the attempt is still in front of it, until its time is up"));
            }
        }
    }
    fire.drop(running, &[])?;
    fire.note(format!("the attempt has ended: VirtualService {} is gone", names(&running.copies)));
    shift.tell(shifts.ui, made)
}

/// Ends an attempt before its time.
fn abort(
    shift: &ShiftArgs,
    shifts: &Shifts<'_>,
    fire: &Fire<'_>,
    service: &str,
    running: &Running,
) -> Result<Exit, Failure> {
    let ui = shifts.ui;
    let attempt = &running.attempt;
    let mut proof = None;
    match shift.dry_run.dry_run {
        DryRun::None => {
            fire.drop(running, &[])?;
            proof = prove_end(shifts, service, attempt)?;
        }
        dry_run => {
            for job in fire.jobs(running)? {
                if dry_run == DryRun::Server {
                    fire.delete(&job, Propagation::Foreground, true)?;
                }
                ui.note(format!("job.batch/{} deleted{}", job.name, dry_run.suffix()));
            }
        }
    }
    let answer = Attempted {
        state: "dropped",
        shifted: Shifted {
            service: attempt.service.clone(),
            canary: Some(attempt.canary.clone()),
            percent: Some(attempt.percent),
            proof,
            ..Shifted::default()
        },
        virtual_services: running.copies.iter().map(Object::key).collect(),
        job: running.jobs().first().map(|job| format!("{}/{job}", namespace(running))),
        until: None,
    };
    tell(ui, shift, &answer)?;
    Ok(answer.shifted.exit())
}

/// Whether the callers' proxies go by the originals again: without istiod they keep what they have.
fn prove_end(
    shifts: &Shifts<'_>,
    service: &str,
    attempt: &attempt::Attempt,
) -> Result<Option<crate::proof::Proof>, Failure> {
    let Sink::Cluster { connection, .. } = shifts.sink else { return Ok(None) };
    if shifts.proof.is_skipped() {
        return Ok(None);
    }
    let loaded = shifts.source.load_only(shifts.ui, &KINDS)?;
    let routing = Routing::new(&loaded.world);
    let subject = Subject::of(&routing, Subject::service(shifts.ui, &loaded.world, &loaded, service)?)?;
    let is_of = |carrier: &&Carrier<'_>| attempt.routes.contains_key(&carrier.place.object.key());
    let routes: Vec<&Carrier<'_>> = subject.carriers.iter().filter(is_of).collect();
    let due = proof::due(&routing, subject.host, &routes);
    shifts.proof.prove(shifts.ui, connection, due, shifts.interrupts()).map(Some)
}

/// What makes and ends attempts in a cluster.
struct Fire<'a> {
    ui: &'a Ui,
    writer: &'a Writer,
    quiet: bool,
}

impl Fire<'_> {
    fn note(&self, text: String) {
        if !self.quiet {
            self.ui.note(dim(text));
        }
    }

    fn get(&self, object: &Reference) -> Result<Option<Object>, Failure> {
        Ok(self.writer.get(object)?)
    }

    /// Makes the Job, and sees that its time runs: the job controller has set `status.startTime`.
    fn light(&self, job: Object) -> Result<Object, Failure> {
        let key = job.key();
        let made = send(self.ui, self.writer, &Change::Create(job), false, false)?;
        let Some(mut job) = made else { return Err(Failure::error(format!("Job {key} is gone again"))) };
        let started = Instant::now();
        let progress = self.ui.progress();
        while job.get("/status/startTime").is_none() {
            if started.elapsed() >= PATIENCE {
                // It owns nothing yet: there is nothing that a garbage collector would have to do first.
                self.delete(&job, Propagation::Background, false)?;
                return Err(Failure::error(format!(
                    "nothing would end the attempt: the job controller has not started Job {key} in {} s",
                    PATIENCE.as_secs()
                ))
                .hint("does kube-controller-manager run? Nothing is left, and no traffic was moved"));
            }
            progress.show(format!("waiting for the job controller to start Job {key}…"));
            thread::sleep(PAUSE);
            job = self.get(&Reference::of(&job))?.ok_or_else(|| over(&key))?;
        }
        drop(progress);
        // Admission may have changed it.
        let flaws = Fuse::read(&job).map(|fuse| fuse.flaws).unwrap_or_default();
        if let Some(flaw) = flaws.first() {
            self.delete(&job, Propagation::Background, false)?;
            return Err(Failure::error(format!("Job {key} would not end the attempt: {flaw}"))
                .hint("something in the cluster changes Jobs when they are made; nothing is left"));
        }
        self.note(format!("Job {key} burns for {}", words(&job)));
        Ok(job)
    }

    /// Puts copies in place, to burn with a Job. Where that fails, the Job goes, and with it what it owns.
    fn put(
        &self,
        running: Option<&Running>,
        copies: Vec<Object>,
        job: &Object,
    ) -> Result<Vec<Object>, Failure> {
        let changes = attempt::changes(running, copies, job).map_err(conflict)?;
        let mut written = Vec::new();
        for change in &changes {
            match send(self.ui, self.writer, change, false, false) {
                Ok(object) => written.extend(object),
                Err(error) => {
                    let then = match (running, written.len()) {
                        (None, _) => NOTHING_LEFT,
                        (Some(_), 0) => "the attempt that is under way goes on as it was",
                        (Some(_), _) => "the attempt goes on where it was not changed yet: abort ends it",
                    };
                    return Err(self.back(error.into(), job, then));
                }
            }
            for warning in self.writer.warnings() {
                self.ui.warning(&warning);
            }
            if !self.quiet {
                self.ui.note(mesh_cli::plan::receipt(change, DryRun::None));
            }
        }
        Ok(written)
    }

    /// Sees that all of it is there, and that nobody has changed an original while it was copied.
    fn check(&self, job: &Object, copies: &[Object], world: &World) -> Result<(), Failure> {
        let read = |object: &Object| {
            self.get(&Reference::of(object)).map_err(|failure| {
                failure
                    .hint("the attempt is made, and it is not known whether it holds: abort ends it at once")
            })
        };
        let is_there = |object: &Object| -> Result<Option<Object>, Failure> {
            let found = read(object)?;
            Ok(found.filter(|found| found.get("/metadata/deletionTimestamp").is_none()))
        };
        if is_there(job)?.is_none() {
            return Err(over(&job.key()));
        }
        for copy in copies {
            let Some(found) = is_there(copy)? else { return Err(over(&job.key())) };
            if let Some(flaw) = fuse::flaws_of(&found, job).first() {
                let failure = Failure::error(format!("the attempt would not end by itself: {flaw}"));
                return Err(self.back(failure, job, NOTHING_LEFT));
            }
            let attempt = attempt::read(&found).unwrap_or_default();
            for key in attempt.routes.keys().chain([&attempt.of]) {
                let original = |object: &&std::sync::Arc<Object>| {
                    object.kind == Kind::VirtualService && object.key() == *key
                };
                let Some(original) = world.objects().iter().find(original) else { continue };
                let now = read(original)?;
                if now.as_ref().and_then(|now| now.get("/spec")) != original.get("/spec") {
                    let text = format!("error: VirtualService {key} was changed by somebody else meanwhile");
                    return Err(self.back(Failure::conflict(text), job, NOTHING_LEFT));
                }
            }
        }
        Ok(())
    }

    /// Takes a Job back with all that it owns, after something went wrong; says what is there then.
    fn back(&self, failure: Failure, job: &Object, then: &str) -> Failure {
        match self.delete(job, Propagation::Foreground, false) {
            Ok(()) => failure.hint(then),
            Err(_) => {
                failure.hint(format!("Job {} is left: Kubernetes removes it when its time is up", job.key()))
            }
        }
    }

    /// Deletes a Job, if it is still that one.
    fn delete(&self, job: &Object, propagation: Propagation, dry_run: bool) -> Result<(), Failure> {
        let mut job = job.clone();
        // The job controller writes its status at any time.
        if let Some(metadata) = job.value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let change = Change::Delete { object: job, propagation: Some(propagation) };
        send(self.ui, self.writer, &change, dry_run, false)?;
        Ok(())
    }

    /// The Jobs of an attempt that are there.
    fn jobs(&self, running: &Running) -> Result<Vec<Object>, Failure> {
        let mut jobs = Vec::new();
        for name in running.jobs() {
            let job = Reference {
                api_version: "batch/v1".to_owned(),
                kind: Kind::Job,
                namespace: namespace(running),
                name: name.to_owned(),
            };
            jobs.extend(self.get(&job)?);
        }
        Ok(jobs)
    }

    /// Ends an attempt but for copies that burn with another Job by now, and waits until nothing is left of it.
    fn drop(&self, running: &Running, but: &[Object]) -> Result<(), Failure> {
        let stays = |copy: &Object| but.iter().any(|other| other.key() == copy.key());
        let mut going: Vec<Reference> = Vec::new();
        for job in self.jobs(running)? {
            if job.get("/metadata/deletionTimestamp").is_none() {
                self.delete(&job, Propagation::Foreground, false)?;
            }
            going.push(Reference::of(&job));
        }
        for orphan in running.orphans().filter(|copy| !stays(copy)) {
            let change = Change::Delete { object: orphan.clone(), propagation: None };
            send(self.ui, self.writer, &change, false, false)?;
        }
        going.extend(running.copies.iter().filter(|copy| !stays(copy)).map(Reference::of));
        let started = Instant::now();
        let progress = self.ui.progress();
        loop {
            let mut left = Vec::new();
            for object in going {
                if self.get(&object)?.is_some() {
                    left.push(object);
                }
            }
            let Some(first) = left.first() else { break };
            if started.elapsed() >= PATIENCE_FOR_THE_END {
                let kind = first.kind.name().to_ascii_lowercase();
                return Err(Failure::error(format!(
                    "{first} is being deleted, and still there after {} s",
                    PATIENCE_FOR_THE_END.as_secs()
                ))
                .hint("does kube-controller-manager run? Its garbage collector removes it")
                .hint(format!("by hand: kubectl delete {kind} {} -n {}", first.name, first.namespace)));
            }
            progress.show(format!("waiting until {first} is gone…"));
            going = left;
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Whether the callers' proxies have the weights: those that the originals would give them.
fn prove(
    shifts: &Shifts<'_>,
    connection: &Connection,
    subject: &Subject<'_, '_>,
    moving: &[Moving],
    patches: &[Change],
) -> Result<crate::proof::Proof, Failure> {
    let wanted = subject.world().after(patches).map_err(conflict)?;
    let moved: Vec<_> = moving
        .iter()
        .filter(|one| one.from != one.to)
        .filter_map(|one| subject.carriers.get(one.carrier))
        .collect();
    let due = proof::due(&Routing::new(&wanted), subject.host, &moved);
    shifts.proof.prove(shifts.ui, connection, due, shifts.interrupts())
}

/// Shows a dry run: what would be made, and with the server's own words where it was asked.
fn show(
    shifts: &Shifts<'_>,
    writer: &Writer,
    running: Option<&Running>,
    copies: Vec<Object>,
    job: Object,
    dry_run: DryRun,
) -> Result<(), Failure> {
    let ui = shifts.ui;
    let mut objects = Vec::new();
    let mut make = |change: &Change| -> Result<Option<Object>, Failure> {
        let object = if dry_run == DryRun::Server {
            send(ui, writer, change, true, false)?
        } else {
            let there = running.and_then(|one| one.copies.iter().find(|copy| change.object().means(copy)));
            change.apply_to(there).map_err(conflict)?
        };
        if !shifts.how.quiet {
            ui.note(mesh_cli::plan::receipt(change, dry_run));
        }
        objects.extend(object.clone());
        Ok(object)
    };
    let job = make(&Change::Create(job.clone()))?.unwrap_or(job);
    for change in attempt::changes(running, copies, &job).map_err(conflict)? {
        make(&change)?;
    }
    mesh_cli::plan::objects(ui, shifts.how.output, &objects)
}

/// Asks the server for the rights that an attempt takes, before anything is made.
fn may(writer: &Writer, namespace: &str, is_change: bool) -> Result<(), Failure> {
    let mut needed = vec![
        ("create", Kind::Job),
        ("get", Kind::Job),
        ("delete", Kind::Job),
        ("create", Kind::VirtualService),
    ];
    if is_change {
        needed.push(("patch", Kind::VirtualService));
    }
    for (verb, kind) in needed {
        if !writer.may(verb, kind, Some(namespace))? {
            return Err(Failure::error(format!(
                "you may not {verb} {}.{} in namespace {namespace}, and --try needs that",
                kind.plural(),
                kind.group()
            ))
            .hint(RIGHTS));
        }
    }
    Ok(())
}

fn refuse(ui: &Ui, shift: &ShiftArgs, service: String, why: &NoAttempt) -> Result<Exit, Failure> {
    if !matches!(shift.output, Output::Table | Output::Wide) {
        return shift.tell(ui, Made::Refused { service, refusals: vec![why.to_string()] });
    }
    ui.answer(warn("refused: ") + plain(format!("{service}: {why}; nothing was changed")))?;
    ui.note("without --try the weights go into the VirtualService itself");
    Ok(Exit::No)
}

fn tell(ui: &Ui, shift: &ShiftArgs, answer: &Attempted) -> Result<(), Failure> {
    match shift.output {
        Output::Json => return output::json(ui, "CanaryAttempt", answer),
        Output::Yaml => return output::yaml(ui, "CanaryAttempt", answer),
        _ => {}
    }
    let service = &answer.shifted.service;
    if answer.state == "dropped" {
        let dry_run = shift.dry_run.dry_run.suffix();
        let text = format!(": the attempt has ended, what was there before holds again{dry_run}");
        ui.answer(strong(service) + plain(text))?;
        return answer.shifted.show(ui);
    }
    answer.shifted.show(ui)?;
    let until = answer.until.as_deref().unwrap_or("its time is up");
    let text = format!(": until {until}, then Kubernetes takes it back");
    mesh_cli::layout::say(ui, 0, 2, vec![strong(service), plain(text)])?;
    let (namespace, name) = service.split_once('/').unwrap_or_default();
    ui.note(format!("keep it: kubectl mesh-canary promote {name} --try -n {namespace}"));
    ui.note(format!("end it:  kubectl mesh-canary abort {name} -n {namespace}"));
    Ok(())
}

fn over(job: &str) -> Failure {
    Failure::error(format!("the time of Job {job} was up before everything was in place"))
        .hint("Kubernetes has removed what there was, or is about to; try it for longer")
}

fn conflict(mismatch: Mismatch) -> Failure {
    Failure::conflict(format!("error: {mismatch}"))
}

/// What tells Jobs apart: the moment, in milliseconds.
fn id() -> String {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", moment.as_millis())
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// How long a Job burns.
fn words(job: &Object) -> String {
    let burns = Fuse::read(job).and_then(|fuse| fuse.burns).unwrap_or_default();
    humantime::format_duration(burns).to_string()
}

fn names(objects: &[Object]) -> String {
    objects.iter().map(Object::key).collect::<Vec<_>>().join(", ")
}

fn namespace(running: &Running) -> String {
    running.copies.first().map(|copy| copy.namespace.clone()).unwrap_or_default()
}

/// An original, in the version of the API that its copy was read in.
fn virtual_service(key: &str, running: &Running) -> Reference {
    let (namespace, name) = key.split_once('/').unwrap_or_default();
    let copy = running.copies.first().map(Reference::of);
    let api_version = copy.map_or_else(|| "networking.istio.io/v1".to_owned(), |copy| copy.api_version);
    Reference {
        api_version,
        kind: Kind::VirtualService,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
