//! How frames go over gRPC: as protobuf, through small buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes that each direction of a link begins with. A leader has a link for each agent, and nearly
/// all of them are silent nearly always: a few bytes in a heartbeat. The usual 8 KiB would be a
/// third of a gigabyte at twenty thousand agents; buffers grow for what is larger.
const BUFFER_BYTES: usize = 512;
/// So many bytes of frames that wait are sent together, as is usual.
const TOGETHER_BYTES: usize = 32 << 10;

/// Frames as protobuf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for FrameCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, TOGETHER_BYTES)
}

impl<T, U> Codec for FrameCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}
