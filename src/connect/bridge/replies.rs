//! How each message of the client fares: heads, ends and breaks of the replies.

use tokio::time::Instant;

use super::session::{Phase, Step};
use super::{Bridge, Effect, Flight, Kind, session, words};
use crate::error::Reason;
use crate::wire::message::write_response;
use crate::wire::{Response, codes};

impl Bridge {
    /// A message has its place in the router, or none.
    pub(super) fn head(
        &mut self,
        number: u64,
        status: u16,
        session: Option<String>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if self.is_stream(number) {
            return self.stream_head(number, status, now, out);
        }
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        flight.status = Some(status);
        let makes_a_session =
            session::is_initialize(flight) || matches!(flight.message.kind, Kind::Own(Step::Initialize));
        match status {
            404 if flight.session.is_some() => {
                let lost = flight.session.clone();
                flight.message.tries += 1;
                let often = flight.message.tries > self.limits.repeats;
                self.take_back(number, now, out);
                if let Some(session) = lost {
                    self.lost(&session, out);
                }
                if often {
                    self.pause(now);
                }
            }
            // Not now.
            503 => {
                self.take_back(number, now, out);
                self.pause(now);
            }
            _ => {
                self.failures = 0;
                let waits_for_its_end = makes_a_session || matches!(flight.message.kind, Kind::Own(_));
                if makes_a_session && let Some(legacy) = &mut self.legacy {
                    legacy.offered = session;
                }
                if !waits_for_its_end && self.leaving == Some(number) {
                    self.leaving = None;
                }
                if let Some(flight) = self.flights.get_mut(&number) {
                    flight.settle(&mut self.bytes);
                }
            }
        }
    }

    fn stream_head(&mut self, number: u64, status: u16, now: Instant, out: &mut Vec<Effect>) {
        let Some(legacy) = &mut self.legacy else { return };
        match status {
            200 => self.failures = 0,
            405 => legacy.no_stream = true,
            404 => {
                if let Some(session) = legacy.session().cloned() {
                    self.lost(&session, out);
                }
            }
            _ => {
                out.push(Effect::Drop(number));
                self.stream_ended(now);
            }
        }
    }

    pub(super) fn is_stream(&self, number: u64) -> bool {
        self.legacy.as_ref().is_some_and(|l| l.stream == Some(number))
    }

    /// The reply is over.
    pub(super) fn reply_ended(&mut self, number: u64, now: Instant, out: &mut Vec<Effect>) {
        if self.is_stream(number) {
            if !self.legacy.as_ref().is_some_and(|l| l.no_stream) {
                self.stream_ended(now);
            }
            return;
        }
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let status = flight.status.unwrap_or_default();
        match &flight.message.kind {
            Kind::Note(_) | Kind::Answer => {
                self.landed(number);
            }
            Kind::Own(Step::Initialized) => {
                self.landed(number);
                self.step_made(out);
            }
            // It refused it, without a word that is JSON.
            Kind::Request(asked) if !(200..300).contains(&status) => {
                let why = format!("the router answered with HTTP status {status}");
                out.push(words::refused(asked.id.as_raw(), codes::INTERNAL_ERROR, &why));
                self.landed(number);
            }
            Kind::Request(_) | Kind::Own(_) => self.cut(number, now, out),
        }
    }

    /// The connection broke before the reply was complete: the router died, as far as is known.
    pub(super) fn cut(&mut self, number: u64, now: Instant, out: &mut Vec<Effect>) {
        if self.is_stream(number) {
            return self.stream_ended(now);
        }
        let Some(flight) = self.landed(number) else { return };
        self.down();
        let mut message = flight.message;
        message.tries += 1;
        match &message.kind {
            Kind::Request(asked) if asked.cancelled => {}
            Kind::Request(asked) if asked.is_repeatable() && message.tries <= self.limits.repeats => {
                self.bytes += message.body.len();
                self.hold_again(message, now);
            }
            Kind::Request(asked) => {
                let why = "it ended before it answered".to_owned();
                out.push(words::failed(
                    &asked.id,
                    Reason::OutcomeUnknown(why),
                    std::time::Duration::ZERO,
                ));
            }
            // It may have been heard, and is of no use twice.
            Kind::Note(_) | Kind::Answer => {}
            Kind::Own(step) => {
                let step = step.clone();
                self.step_back(step);
                self.pause(now);
            }
        }
    }

    /// The request never left: there is no router.
    pub(super) fn refused(&mut self, number: u64, now: Instant) {
        self.down();
        // Somebody may listen there who takes nothing: that must not be found out again and again.
        self.pause(now);
        if let Some(legacy) = self.legacy.as_mut().filter(|l| l.stream == Some(number)) {
            legacy.stream = None;
            return;
        }
        self.hold_flight(number, now);
    }

    /// The router did not take a message: it is sent again.
    fn take_back(&mut self, number: u64, now: Instant, out: &mut Vec<Effect>) {
        out.push(Effect::Drop(number));
        self.hold_flight(number, now);
    }

    fn hold_flight(&mut self, number: u64, now: Instant) {
        let Some(flight) = self.landed(number) else { return };
        match flight.message.kind {
            Kind::Request(ref asked) if asked.cancelled => {}
            Kind::Own(step) => self.step_back(step),
            _ => {
                // Held since it came, if it never was taken: a router that takes nothing must not hold it for ever.
                let since = flight.message.since;
                self.bytes += flight.message.body.len();
                self.hold_again(flight.message, now.min(since));
            }
        }
    }

    /// Takes a message off the list of those that are on their way.
    pub(super) fn landed(&mut self, number: u64) -> Option<Flight> {
        if self.leaving == Some(number) {
            self.leaving = None;
        }
        let flight = self.flights.remove(&number)?;
        self.bytes -= flight.message.body.len();
        Some(flight)
    }

    /// An answer to a message of our own.
    pub(super) fn own_answer(&mut self, number: u64, response: &Response<'_>, now: Instant, out: &mut Vec<Effect>) {
        let Some(flight) = self.landed(number) else { return };
        let Kind::Own(step) = flight.message.kind else { return };
        match (step, response.outcome) {
            (Step::Initialize, Ok(result)) if flight.status == Some(200) => {
                if let Some(legacy) = &mut self.legacy {
                    legacy.opened(result);
                }
                self.step_made(out);
            }
            // It will have no session: what waits for one hears why.
            (Step::Initialize, Ok(why) | Err(why)) => {
                tracing::warn!(error = why, "the router opens no session");
                if let Some(legacy) = &mut self.legacy {
                    legacy.phase = Phase::Lost(None);
                }
                let waiting: Vec<u64> = self
                    .held
                    .values()
                    .filter(|m| session::is_of_a_session(m))
                    .map(|m| m.order)
                    .collect();
                for message in waiting
                    .iter()
                    .filter_map(|order| self.held.remove(order))
                    .collect::<Vec<_>>()
                {
                    if let Kind::Request(asked) = &message.kind {
                        out.push(Effect::Write(words::one_line(&write_response(
                            asked.id.as_raw(),
                            Err(why),
                        ))));
                    }
                    self.forget(&message);
                }
                self.pause(now);
            }
            (step, outcome) => {
                if let Err(error) = outcome {
                    tracing::warn!(?step, error, "the session is not quite as it was");
                }
                self.step_made(out);
            }
        }
    }
}

impl Flight {
    /// It left: what can not be sent again need not be kept.
    fn settle(&mut self, bytes: &mut usize) {
        let keep = match &self.message.kind {
            Kind::Request(asked) => asked.is_repeatable(),
            Kind::Note(_) | Kind::Answer | Kind::Own(_) => false,
        };
        if !keep {
            *bytes -= self.message.body.len();
            self.message.body = Default::default();
        }
    }
}
